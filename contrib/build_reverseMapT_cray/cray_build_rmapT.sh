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
# is well; 1 also if nothing could be done at all; 2 for a mistake in the
# settings.
#
# An input whose PrgEnv cannot be loaded or whose spider fails is replaced by
# its last good copy (rmap-merge then says so, status 3). Inputs of PrgEnvs
# that no longer exist are not given any more, so rmap-merge drops its copies.

set -u
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
BASE_MODULEPATH=${MODULEPATH:-} # what a login shell has before any PrgEnv
PRGENVS=                 # as "PrgEnv-gnu PrgEnv-cray"; found in BASE_MODULEPATH
COMPILERS="amd:amd aocc:aocc cray:cce gnu:gcc intel:intel nvhpc:nvhpc nvidia:nvidia pgi:pgi"
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
[ -n "$BASE_MODULEPATH" ] || usage_error "$conf: BASE_MODULEPATH is not set, and MODULEPATH neither"
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

# --- one at a time, and clean up ----------------------------------------------

lock=
work=
clean() {
	[ -z "$work" ] || rm -rf "$work"
	[ -z "$lock" ] || rm -rf "$lock"
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$state" || exit 1
take_lock() { mkdir "$state/script.lock" 2>/dev/null; }
if ! take_lock; then
	pid=$(cat "$state/script.lock/pid" 2>/dev/null)
	if [ -z "$pid" ]; then
		sleep 2 # it may be about to write it
		pid=$(cat "$state/script.lock/pid" 2>/dev/null)
	fi
	if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
		say "another run (process $pid) is at work"
		exit 1
	fi
	say "the lock of a run that died is taken over"
	rm -rf "$state/script.lock"
	take_lock || exit 1
fi
lock=$state/script.lock
echo $$ >"$lock/pid" || exit 1
work=$(mktemp -d "$TMPDIR/rmapT.XXXXXX") || exit 1

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

# compiler PRGENV prints the module of its compiler; nothing if unknown.
compiler() {
	for pair in $COMPILERS; do
		if [ "PrgEnv-${pair%%:*}" = "$1" ]; then
			printf '%s\n' "${pair#*:}"
			return
		fi
	done
}

# module COMMAND ARGUMENT... runs Lmod and takes over what it changes.
module() {
	code=$("$LMOD" sh "$@" 2>>"$work/log") || return 1
	eval "$code"
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
	"$@" "$SPIDER" --preload -o "$form" "$BASE_MODULEPATH" >"$file.new" 2>>"$work/log"
	status=$?
	if [ $status -ne 0 ]; then
		say "${file##*/}: spider -o $form ended with status $status"
	elif [ "$(wc -c <"$file.new")" -lt "$MIN_BYTES" ]; then
		say "${file##*/}: spider -o $form printed less than $MIN_BYTES bytes"
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
	comp=$(compiler "$env")
	if ! module load "$env" || ! loaded "$env"; then
		say "$env cannot be loaded"
		lost "$(label "$env")."
		lost "$(label "$env")_"
		return
	fi
	found=
	[ -z "$comp" ] || found=$(versions "$comp" "${MODULEPATH:-$BASE_MODULEPATH}")
	if [ -z "$found" ]; then
		both "$(label "$env")"
		return
	fi
	for version in $found; do
		(
			if loaded "$comp"; then
				module swap "$comp" "$comp/$version"
			else
				module load "$comp/$version"
			fi
			if loaded "$comp/$version"; then
				both "$(label "${env}_$comp-$version")"
			else
				say "$env: $comp/$version cannot be loaded"
				lost "$(label "${env}_$comp-$version")."
			fi
		)
	done
}

mkdir "$work/in" || exit 1
: >"$work/labels"
: >"$work/log"
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
	say "nothing could be run; Lmod's last words: $(tail -n 3 "$work/log" | tr '\n' ' ')"
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
"$RMAP_MERGE" --output "$OUTPUT" "$@"
