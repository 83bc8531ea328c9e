package launch

import "syscall"

const sysStat = syscall.SYS_NEWFSTATAT
