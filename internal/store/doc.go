// Package store keeps the rows in one SQL database, and is the only package
// with SQL in it.
//
// Sets are stored once: most runs load the same libraries and see the same
// environment, so a run points to a set of objects and a set of environment
// values, and views under XALT's names give the old picture of one row for
// each pair. Ids of objects, values and sets come from their content (see
// dimension.go), ids of runs and links are the database's.
//
// [DB.Write] stores a batch in one transaction. What wins when records speak of
// the same run or link is decided in claim.go and does not depend on the order
// in which they come. Text compares as bytes.
package store
