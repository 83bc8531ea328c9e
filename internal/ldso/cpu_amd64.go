package ldso

// cpuid executes the instruction of that name.
func cpuid(leaf, sub uint32) (a, b, c, d uint32)

// xgetbv returns which registers the system saves for programs.
func xgetbv() uint32

// x86Levels asks the processor, as the loader does. /proc/cpuinfo may lack what a
// virtual machine's kernel does not use.
func x86Levels() []string {
	var f x86Features
	if most, _, _, _ := cpuid(0, 0); most >= 7 {
		_, f.extended, _, _ = cpuid(7, 0)
	}
	if most, _, _, _ := cpuid(0x80000000, 0); most >= 0x80000001 {
		_, _, f.amd, _ = cpuid(0x80000001, 0)
	}
	_, _, f.basic, _ = cpuid(1, 0)
	if f.basic&osXSAVE != 0 {
		f.saved = xgetbv()
	}
	return f.levels()
}
