// Package linker is xalt-wrap in the place of ld: it runs the real linker with the
// same arguments and one object more, which carries the watermark, and makes the
// record of the link.
//
// Its guarantee is that a build goes as it would without it. Arguments that ask
// for no executable or shared library, tests that configure and CMake make, and
// whatever is not understood go to the real linker at once, in the place of this
// process. Otherwise the linker is run as a child, with what it writes held back:
//
//   - It succeeds: what it wrote is passed on, the output is read, the record sent.
//   - It fails, or speaks of our object: all that is thrown away, and the real
//     linker takes this process's place with the arguments as they were.
//   - It is interrupted by a signal: so is this process.
//
// Anything that fails on our side, a panic too, leads to the second or loses the
// record; it never changes the outcome.
//
// What was linked is told by the linker itself: by its dependency file
// (GNU ld from 2.35, gold, lld, mold), and by its map where it has none. Both are
// written to memory, so that neither the user's files nor standard output nor a
// full disk are touched. Libraries that the linker dropped, because of
// --as-needed, are told from the output's list of needed ones and left out, and
// so are objects, which are the program's own, as XALT does.
//
// The functions taken from a tracked library are: of a shared library, the
// undefined symbols of the output that it defines as functions; of an archive,
// the functions in its index that the linked objects outside of tracked archives
// refer to. Where these objects cannot tell, because link-time optimization has
// put something else in their place, they are those that the output defines.
package linker
