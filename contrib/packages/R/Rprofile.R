# Reports the packages that a run loaded to xalt-wrap, at its end.
invisible(local({
  ranks <- c("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "PALS_RANKID", "SLURM_PROCID", "FLUX_TASK_RANK")
  rank <- Sys.getenv(ranks, unset = NA)
  rank <- rank[!is.na(rank)]
  if (nzchar(Sys.getenv("XALT_RUN_UUID")) && tolower(Sys.getenv("XALT_EXECUTABLE_TRACKING")) != "no" &&
      (length(rank) == 0 || rank[[1]] == "0")) {
    report <- function(e) {
      try({
        base <- rownames(utils::installed.packages(priority = "base"))
        names <- setdiff(loadedNamespaces(), base)
        if (length(names) > 0) {
          lines <- vapply(names, function(n) paste(n, getNamespaceVersion(n), getNamespaceInfo(n, "path"), sep = "\t"), "")
          command <- paste(shQuote(Sys.getenv("XALT_WRAP", "xalt-wrap")), "pkg --program R --list")
          system(command, input = lines, ignore.stdout = TRUE, ignore.stderr = TRUE, timeout = 5)
        }
      }, silent = TRUE)
    }
    reg.finalizer(.GlobalEnv, report, onexit = TRUE)
  }
}))
