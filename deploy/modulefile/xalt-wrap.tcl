#%Module1.0
# Modulefile in Tcl, for Environment Modules (and Lmod): install it as
# xalt-wrap/<version>. Environment Modules have no priorities: load it after the
# MPI, or let the site's initialisation do so. It does not unload itself for
# debuggers as under Lmod; xalt-wrap steps aside by itself when it sees one in
# LOADEDMODULES.

proc ModulesHelp { } {
    puts stderr "Puts xalt-wrap in front of mpirun, srun, ld and the like, so that the site knows"
    puts stderr "which programs, libraries and modules are used. Unload it to switch it off."
}
module-whatis "record launches and links for the site's usage reports"

# The directory with the links named mpirun, srun, ld, ...
set dir /usr/lib/xaltpipe/wrap

prepend-path PATH          $dir
prepend-path COMPILER_PATH $dir
