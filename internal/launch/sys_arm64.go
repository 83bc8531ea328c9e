package launch

// The syscall package is older than these.
const sysMemfdCreate = 279
