//go:build linux && !cgo

package standin

import "syscall"

const sysStat = syscall.SYS_NEWFSTATAT
