// Package launch is xalt-wrap's role in front of a launcher: it runs the real
// program so that nobody notices, and records that it ran.
//
// There are three processes. The wrapper starts the program before anything
// else, and then does nothing but pass on signals and wait; it is as small as
// can be, because what befalls it befalls the job. The side job, a process of
// its own with the lowest priority, hashes, looks around and sends the records;
// it may hang on a dead file server, run out of memory or crash without harm.
//
// The program stays in the wrapper's process group, so what a terminal or kill
// sends to the group reaches it directly. The side job is in the group too,
// and reports which signals it got: one that it got as well was meant for the
// group and is not passed on, one that only the wrapper got was meant for the
// program.
//
// Go's runtime changes some of what a program inherits before any Go code
// runs; early_*.s looks at it before that, see [inherited].
//
// Anything that goes wrong before the program runs ends in the program taking
// the wrapper's place.
package launch
