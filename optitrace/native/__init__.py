"""Rules as machine code: operations are recorded, listed for LLVM, compiled, and run without torch."""
