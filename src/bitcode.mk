# Whether to make bitcode, which JIT could inline: that takes the clang that PostgreSQL was built with. Without it there is none, and all works.
# Both Makefiles include this before PGXS.

ifneq ($(origin CLANG), command line)
CLANG := $(shell sed -n 's/^CLANG *= *//p' "$(dir $(PGXS))../Makefile.global")
endif
ifeq ($(shell command -v "$(CLANG)" 2>/dev/null),)
override with_llvm = no
endif
