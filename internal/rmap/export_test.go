package rmap

// SetStep has f called between the steps in which u replaces files.
func (u *Update) SetStep(f func()) { u.step = f }
