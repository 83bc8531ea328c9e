package rmap

import "io"

// SetStep has f called between the steps in which u replaces files.
func (u *Update) SetStep(f func()) { u.step = f }

// Check reads an encoded map back as it is done before a map is installed.
func (r *Result) Check(text io.Reader) error { return r.check(text) }
