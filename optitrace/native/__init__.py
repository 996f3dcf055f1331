"""A rule as machine code: its operations recorded, written out for LLVM, compiled, and run without torch."""
