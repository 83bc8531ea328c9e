"""Reports the packages that a run imported to xalt-wrap, at its end."""

import os


def _first_task():
    """Of the tasks of a parallel program the first reports for all."""
    for name in ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "PALS_RANKID", "SLURM_PROCID", "FLUX_TASK_RANK"):
        rank = os.environ.get(name)
        if rank is not None:
            return rank == "0"
    return True


def _packages():
    """Yields name, version and path of what was imported from outside the standard library."""
    import sys

    standard = getattr(sys, "stdlib_module_names", frozenset(sys.builtin_module_names))
    prefix = os.path.dirname(os.__file__) + os.sep
    for name, module in sorted(sys.modules.items()):
        if "." in name or name.startswith("_") or name in standard or name in ("sitecustomize", "usercustomize"):
            continue
        path = getattr(module, "__file__", None)
        if not path:
            paths = list(getattr(module, "__path__", []))
            path = paths[0] if paths else None
        elif os.path.basename(path).startswith("__init__."):
            path = os.path.dirname(path)
        if not path or (path.startswith(prefix) and "-packages" not in path):
            continue
        version = getattr(module, "__version__", None)
        if not isinstance(version, str):
            try:
                from importlib import metadata

                version = metadata.version(name)
            except Exception:
                version = "unknown"
        yield name, version, path


def _report(owner):
    if os.getpid() != owner:  # a forked child is the same run
        return
    try:
        import subprocess

        lines = []
        for fields in _packages():
            lines.append("\t".join(f.replace("\t", " ").replace("\n", " ") for f in fields) + "\n")
        if not lines:
            return
        command = [os.environ.get("XALT_WRAP", "xalt-wrap"), "pkg", "--program", "python", "--list"]
        subprocess.run(
            command,
            input="".join(lines).encode("utf-8", "surrogateescape"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=False,
        )
    except BaseException:  # a record is worth no trouble
        pass


def _start():
    if os.environ.get("XALT_RUN_UUID") and os.environ.get("XALT_EXECUTABLE_TRACKING", "").lower() != "no" and _first_task():
        import atexit

        atexit.register(_report, os.getpid())


def _hidden():
    """Runs the sitecustomize that this one hides."""
    import sys
    from importlib import machinery, util

    here = os.path.dirname(os.path.abspath(__file__))
    rest = [p for p in sys.path if os.path.abspath(p or os.curdir) != here]
    spec = machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(util.module_from_spec(spec))


try:
    _start()
except Exception:
    pass
_hidden()
