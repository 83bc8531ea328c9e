// Command probe is a program for the wrapper to run in tests. It prints the
// signals that it gets and the lines that it reads, and ends with status 5 at
// the end of its input. Signals that stop are left alone.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 256)
	for s := syscall.Signal(1); s <= 64; s++ {
		switch s {
		case syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGCONT, syscall.SIGCHLD:
		default:
			signal.Notify(signals, s)
		}
	}
	lines := make(chan string)
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			lines <- in.Text()
		}
		close(lines)
	}()
	fmt.Println("ready", os.Getpid(), os.Getppid())
	for {
		select {
		case s := <-signals:
			if n, ok := s.(syscall.Signal); ok {
				fmt.Println("signal", int(n))
			}
		case line, ok := <-lines:
			if !ok {
				os.Exit(5)
			}
			fmt.Println("line", line)
		}
	}
}
