"""A hook for Spack that keeps XALT's reverse map up to date.

Copy this file into lib/spack/spack/hooks/ of the Spack instance; Spack calls what
is there after each installation. Where modulefiles are made by
"spack module lmod refresh" only, run "xalt-maps soon" after that instead.
"""
import subprocess


def post_install(spec, explicit=None):
    """A package was installed: rebuild the map a minute after the last one."""
    try:
        subprocess.run(["/usr/lib/xaltpipe/xalt-maps", "soon"], check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        pass  # an installation does not fail because of us; the nightly run makes up for it
