package ldso

import "xaltpipe/internal/cpuid"

// x86Processor asks the processor, as the loader does. /proc/cpuinfo may lack what
// a virtual machine's kernel does not use.
func x86Processor() (f x86Features) {
	most, b, c, d := cpuid.ID(0, 0)
	f.intel = b == 'G'|'e'<<8|'n'<<16|'u'<<24 && d == 'i'|'n'<<8|'e'<<16|'I'<<24 && c == 'n'|'t'<<8|'e'<<16|'l'<<24
	if most >= 7 {
		_, f.extended, _, _ = cpuid.ID(7, 0)
	}
	if most, _, _, _ := cpuid.ID(0x80000000, 0); most >= 0x80000001 {
		_, _, f.amd, _ = cpuid.ID(0x80000001, 0)
	}
	_, _, f.basic, _ = cpuid.ID(1, 0)
	if f.basic&osXSAVE != 0 {
		f.saved = cpuid.Saved()
	}
	return f
}
