package xalt

// CRCSliced is the CRC where the processor does not multiply polynomials.
var CRCSliced = crcSliced
