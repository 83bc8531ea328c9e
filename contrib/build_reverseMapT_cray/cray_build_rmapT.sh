#!/bin/sh
# Builds the reverse map of a Cray: for every PrgEnv and every version of its
# compiler, loads it, runs Lmod's spider for the map and for the list of
# modules, and gives all of it to rmap-merge.
#
# Usage: cray_build_rmapT.sh [-c FILE] [RMAP-MERGE FLAG...]
#
# The settings of the site are in FILE, by default cray_build_rmapT.conf beside
# this script. Further arguments go to rmap-merge, as --force after a PrgEnv was
# taken away. The exit status is that of rmap-merge: 0 and nothing said if all
# is well; 1 also if another run is at work, or nothing could be done at all; 2
# for a mistake in the settings; 3 also if something could not be loaded or run.
#
# An input whose PrgEnv cannot be loaded or whose spider fails is replaced by
# its last good copy (rmap-merge then says so, status 3). Inputs of PrgEnvs
# that no longer exist are not given any more, so rmap-merge drops its copies.

set -u
umask 022 # the maps are for everybody
LC_ALL=C
export LC_ALL

name=cray_build_rmapT.sh

say() { printf '%s: %s\n' "$name" "$*" >&2; }

usage_error() {
	say "$*"
	exit 2
}

# --- settings ---------------------------------------------------------------

OUTPUT=                  # directory of the maps; must be set
MACHINE=                 # name of this machine, if OUTPUT serves several
RMAP_MERGE=rmap-merge    # the program
SPIDER=                  # Lmod's spider; found from LMOD_DIR and LMOD_PKG
LMOD=                    # Lmod's own program; found beside spider
BASE_MODULEPATH=         # what a login shell has before any PrgEnv; MODULEPATH
PRGENVS=                 # as "PrgEnv-gnu PrgEnv-cray"; found in BASE_MODULEPATH
COMPILERS="amd:amd aocc:aocc cray:cce gnu:gcc-native gnu:gcc intel:intel nvhpc:nvhpc nvidia:nvidia pgi:pgi"
IGNORE_FLAVOR=           # modules that are no flavor, separated by blanks
SPIDER_TIMEOUT=3600      # seconds for one run
MIN_BYTES=100            # an output below that is no good
TMPDIR=${TMPDIR:-/var/tmp}

here=$(dirname "$0")
conf=$here/cray_build_rmapT.conf
if [ "${1:-}" = -c ]; then
	[ $# -ge 2 ] || usage_error "-c FILE: no file is named"
	conf=$2
	shift 2
fi
[ -r "$conf" ] || usage_error "the settings $conf cannot be read"
case $conf in
/*) ;;
*) conf=./$conf ;;
esac
# shellcheck source=/dev/null
. "$conf" || usage_error "the settings $conf have a mistake"

[ -n "$OUTPUT" ] || usage_error "$conf: OUTPUT is not set"
[ -n "$BASE_MODULEPATH${MODULEPATH:-}" ] || usage_error "$conf: BASE_MODULEPATH is not set, and MODULEPATH neither"
case $OUTPUT in
/*) ;;
*) OUTPUT=$(pwd)/$OUTPUT ;;
esac
state=$OUTPUT${MACHINE:+/$MACHINE}/.rmap-merge

# LMOD_DIR is the directory of the programs for some sites, and the one above
# it for others.
if [ -z "$SPIDER" ]; then
	for dir in "${LMOD_DIR:-}" "${LMOD_DIR:+$LMOD_DIR/libexec}" "${LMOD_PKG:+$LMOD_PKG/libexec}" \
		/opt/cray/pe/lmod/lmod/libexec /usr/share/lmod/lmod/libexec; do
		if [ -n "$dir" ] && [ -x "$dir/spider" ] && [ ! -d "$dir/spider" ]; then
			SPIDER=$dir/spider
			break
		fi
	done
fi
if [ -z "$SPIDER" ] || [ ! -x "$SPIDER" ]; then
	usage_error "Lmod's spider is not found: set SPIDER in $conf, or LMOD_DIR"
fi
[ -n "$LMOD" ] || LMOD=$(dirname "$SPIDER")/lmod
[ -x "$LMOD" ] || usage_error "Lmod's program $LMOD is not there: set LMOD in $conf"
case $RMAP_MERGE in
*/*) case $RMAP_MERGE in /*) ;; *) RMAP_MERGE=$(pwd)/$RMAP_MERGE ;; esac ;;
esac
command -v "$RMAP_MERGE" >/dev/null 2>&1 || usage_error "rmap-merge is not found: set RMAP_MERGE in $conf"
command -v flock >/dev/null 2>&1 || usage_error "flock is not found: it is part of util-linux"

# --- one at a time, and clean up ----------------------------------------------

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# make_dir DIR makes a directory and those above it that are missing.
make_dir() {
	[ -d "$1" ] && return
	make_dir "$(dirname "$1")" && mkdir "$1" && inherit "$1"
}

# inherit FILE gives what root has made to the owner of the directory it is in:
# that user's next run must be able to write there.
inherit() {
	[ "$(id -u)" != 0 ] || chown -h --reference="$(dirname "$1")" "$1"
}

# The kernel gives the lock back when this process ends, however it ends. The
# number in the file is for people only.
if [ ! -d "$state" ]; then
	make_dir "$state" && chmod 750 "$state" || exit 1
fi
lock=$state/script.lock
if [ ! -e "$lock" ]; then
	touch "$lock" && inherit "$lock" || exit 1
fi
if [ ! -w "$lock" ]; then
	say "$lock cannot be written: it belongs to $(stat -c %U "$lock")"
	exit 1
fi
exec 9>>"$lock" || exit 1
if ! flock -n 9; then
	say "another run (process $(cat "$lock" 2>/dev/null)) is at work"
	exit 1
fi
echo $$ >"$lock" || exit 1
work=$(mktemp -d "$TMPDIR/rmapT.XXXXXX") || exit 1
: >"$work/labels"
: >"$work/said"

# A relative element of some modulefile's PATH would turn the directory that
# spider runs in into a module's.
cd / || exit 1

# --- what there is ------------------------------------------------------------

# versions NAME PATH prints the versions of a module as they stand in the file
# system: "module avail" marks defaults in its output, in ways that differ, and
# hides what the site wants hidden.
versions() {
	old_ifs=$IFS
	IFS=:
	# shellcheck disable=SC2086 # it is to be split at colons
	set -- "$1" $2
	IFS=$old_ifs
	module=$1
	shift
	for dir; do
		for file in "$dir/$module"/*; do
			[ -f "$file" ] || continue
			version=${file##*/}
			case $version in
			*~ | *.bak | *.rpmsave | *.rpmnew) continue ;; # left by an editor or a package
			default) [ -L "$file" ] && continue ;;         # Lmod's mark of the default version
			esac
			printf '%s\n' "${version%.lua}"
		done
	done | sort -u
}

# prgenvs prints the names of all PrgEnvs.
prgenvs() {
	if [ -n "$PRGENVS" ]; then
		# shellcheck disable=SC2086 # a list
		printf '%s\n' $PRGENVS
		return
	fi
	old_ifs=$IFS
	IFS=:
	# shellcheck disable=SC2086 # it is to be split at colons
	set -- $BASE_MODULEPATH
	IFS=$old_ifs
	for dir; do
		for entry in "$dir"/PrgEnv-*; do
			[ -e "$entry" ] || continue
			entry=${entry##*/}
			printf '%s\n' "${entry%.lua}"
		done
	done | sort -u
}

# compilers PRGENV prints the modules of its compilers; nothing if unknown.
compilers() {
	for pair in $COMPILERS; do
		if [ "PrgEnv-${pair%%:*}" = "$1" ]; then
			printf '%s\n' "${pair#*:}"
		fi
	done
}

# module COMMAND ARGUMENT... runs Lmod and takes over what it changes.
module() {
	code=$("$LMOD" sh "$@" 2>"$work/said" 9>&-) || return 1
	eval "$code"
}

# why prints what Lmod or spider said last: the line with the error, or the
# first.
why() {
	if ! grep -m 1 -i error "$work/said"; then
		sed -n '/[^[:space:]]/{p;q;}' "$work/said"
	fi | cut -c 1-300
}

# bad TEXT says what went wrong with one of several; the others go on.
bad() {
	reason=$(why)
	say "$1${reason:+: $reason}"
	: >"$work/failed"
}

# loaded NAME[/VERSION] tells whether a module is loaded.
loaded() {
	case :${LOADEDMODULES:-}: in
	*:"$1":* | *:"$1"/*) return 0 ;;
	esac
	return 1
}

# label TEXT makes a text fit for an input's label and a file name.
label() { printf '%s' "$1" | tr -c 'A-Za-z0-9._-' '_'; }

# --- spider -------------------------------------------------------------------

# spider FORM FILE writes one output; there is no file unless it is good.
spider() {
	if command -v timeout >/dev/null 2>&1; then
		set -- "$1" "$2" timeout "$SPIDER_TIMEOUT"
	else
		set -- "$1" "$2" env
	fi
	form=$1
	file=$2
	shift 2
	"$@" "$SPIDER" --preload -o "$form" "$BASE_MODULEPATH" >"$file.new" 2>"$work/said" 9>&-
	status=$?
	if [ $status -ne 0 ]; then
		bad "${file##*/}: spider -o $form ended with status $status"
	elif [ "$(wc -c <"$file.new")" -lt "$MIN_BYTES" ]; then
		bad "${file##*/}: spider -o $form printed less than $MIN_BYTES bytes"
	else
		mv "$file.new" "$file"
		return
	fi
	rm -f "$file.new"
}

# both LABEL runs spider for the map and for the list of modules.
both() {
	spider jsonReverseMapT "$work/in/$1.map"
	spider spider-json "$work/in/$1.modules"
	printf '%s\n' "$1.map" "$1.modules" >>"$work/labels"
}

# lost PREFIX gives the inputs of earlier runs that this one could not make, so
# that rmap-merge takes their copies.
lost() {
	for copy in "$state/inputs/$1"*; do
		[ -f "$copy" ] && printf '%s\n' "${copy##*/}"
	done >>"$work/labels"
}

# one PRGENV runs in a shell of its own, so that what it loads is gone after.
one() {
	env=$1
	if ! module load "$env" || ! loaded "$env"; then
		bad "$env cannot be loaded"
		lost "$(label "$env")."
		lost "$(label "$env")_"
		return
	fi
	present= # the compiler that the PrgEnv brings
	for comp in $(compilers "$env"); do
		if [ -z "$present" ] && loaded "$comp"; then
			present=$comp
		fi
	done
	ran=
	for comp in $(compilers "$env"); do
		for version in $(versions "$comp" "${MODULEPATH:-$BASE_MODULEPATH}"); do
			ran=yes
			(
				if [ -n "$present" ]; then
					module swap "$present" "$comp/$version"
				else
					module load "$comp/$version"
				fi
				if loaded "$comp/$version"; then
					both "$(label "${env}_$comp-$version")"
				else
					bad "$env: $comp/$version cannot be loaded"
					lost "$(label "${env}_$comp-$version")."
				fi
			)
		done
	done
	[ -n "$ran" ] || both "$(label "$env")"
}

mkdir "$work/in" || exit 1

# A shell that calls this may have modules loaded, and spider would take what
# they bring for the PrgEnv's.
if [ -n "${LOADEDMODULES:-}" ]; then
	module --force purge || bad "what is loaded cannot be unloaded"
fi
for variable in $(env | sed -n -e 's/^\(_ModuleTable[A-Za-z0-9_]*\)=.*/\1/p' \
	-e 's/^\(__LMOD_[A-Za-z0-9_]*\)=.*/\1/p' -e 's/^\(LMOD_FAMILY_[A-Za-z0-9_]*\)=.*/\1/p'); do
	unset "$variable"
done
unset LOADEDMODULES _LMFILES_
[ -n "$BASE_MODULEPATH" ] || BASE_MODULEPATH=${MODULEPATH:-}
[ -n "$BASE_MODULEPATH" ] || usage_error "$conf: BASE_MODULEPATH is not set, and without the loaded modules nothing is left of MODULEPATH"
MODULEPATH=$BASE_MODULEPATH
export MODULEPATH
envs=$(prgenvs)
if [ -n "$envs" ]; then
	for env in $envs; do
		(one "$env")
	done
else
	both all
fi

# --- merge --------------------------------------------------------------------

if [ ! -s "$work/labels" ]; then
	say "nothing could be run"
	exit 1
fi
for flavor in $IGNORE_FLAVOR; do
	set -- "$@" --ignore-flavor "$flavor"
done
[ -z "$MACHINE" ] || set -- "$@" --machine "$MACHINE"
while IFS= read -r input; do
	set -- "$@" "$input=$work/in/$input"
done <<END
$(sort -u "$work/labels")
END
"$RMAP_MERGE" --output "$OUTPUT" "$@" 9>&-
status=$?
if [ $status -eq 0 ] && [ -e "$work/failed" ]; then
	status=3
fi
exit $status
