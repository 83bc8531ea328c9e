-- Lmod modulefile: install it as xalt-wrap/<version>.lua in the core module tree.
-- Loaded, launchers and ld are found as xalt-wrap first.

help([[
Puts xalt-wrap in front of mpirun, srun, ld and the like, so that the site knows
which programs, libraries and modules are used. Programs run and links are made as
without it. "module unload xalt-wrap", or XALT_EXECUTABLE_TRACKING=no, switches it
off.
]])
whatis("Name: xalt-wrap")
whatis("Description: record launches and links for the site's usage reports")

-- The directory with the links named mpirun, srun, ld, ...
local dir = "/usr/lib/xaltpipe/wrap"

-- With this priority they stay first, whatever MPI is loaded or swapped later.
prepend_path{"PATH", dir, priority=100}
-- gcc and its like look for ld here.
prepend_path{"COMPILER_PATH", dir, priority=100}
