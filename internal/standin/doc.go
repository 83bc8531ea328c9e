// Package standin is what both roles of xalt-wrap need to stand in for another
// program: to know what they were started with, to catch signals, and to give
// way. It does in system calls, and where there is no other way in assembly,
// what package os does too slowly or hides.
//
// [Inheritance] tells which signals were ignored and which standard streams
// closed before Go's runtime changed that. [Exec] lets a program find all that
// as it was. [Catch] catches signals for a loop around [Poll]. [Die] ends as
// somebody else was ended.
//
// To import it has effects before the runtime starts: it is told of two
// processors, see early_procs.go, so that [Environ] is to be used for os.Environ;
// and where the address space is too small for it, the program that the command
// line names takes our place, see early_exec.go.
package standin

// What early.go must know of the commands.
const (
	// CommandName is the name of the command itself; by any other it stands in
	// for the program of that name.
	CommandName = "xalt-wrap"
	// SideCommand is the first argument of the command that runs as the side job
	// of a launch, with a socket to who started it as descriptor SideSocket.
	SideCommand = "side-job"
	SideSocket  = 3
	// SideYields is its second argument if it should begin when the program has
	// run for a moment, or who started it has ended.
	SideYields = "yields"
	// LinkCommand is the first argument of the command that records a link after
	// the linker has ended. It has descriptors up to LinkLast.
	LinkCommand = "link-job"
	LinkLast    = 5
)

// ReplacedVariable is set for a script that takes our place: how often one of
// that name has done so, a digit, and the name. Other programs do not see it. A
// script that calls us again gets the next program of that name when that has
// happened more than NestedReplaced times, so that a program may launch others
// below itself in the usual way; after MaxReplaced times it is a loop.
const (
	ReplacedVariable = "XALT_WRAP_REPLACED="
	NestedReplaced   = 3
	MaxReplaced      = 9
)

// DefaultPath is the one that execvp(3) takes if there is no PATH.
const DefaultPath = "/bin:/usr/bin"
