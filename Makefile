# Makefile - builds, tests and installs ration; `make help` lists the targets
# SPDX-License-Identifier: MIT

PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
B       ?= build
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)

VERSION   := 0.1.0
SO_MAJOR  := 0

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual \
            -Wconversion -Werror
# -mcx16: refunds swap two words at once (src/shm/atomic.h)
ARCH     := -mcx16
CPPFLAGS += -D_GNU_SOURCE -Iinclude -Isrc
RELEASE  := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
ASAN     := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
TSAN     := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
BASE     := -std=gnu11 $(ARCH) $(WARNINGS) -MMD -MP -fPIC -fvisibility=hidden

sources = $(sort $(foreach d,$(1),$(wildcard src/$(d)/*.c)))
CORE_C       := $(call sources,shm client)
EMBED_C      := $(call sources,policy)
HTTP_C       := $(call sources,http)
SUPERVISOR_C := $(call sources,supervisor)
CLI_C        := $(call sources,cli)
ALL_C        := $(CORE_C) $(EMBED_C) $(HTTP_C) $(SUPERVISOR_C) $(CLI_C)
EXAMPLES     := $(patsubst src/examples/%.c,%,$(wildcard src/examples/*.c))
TESTS        := $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))
TSAN_TESTS   := $(patsubst tests/%.c,%,$(wildcard tests/tsan_*.c))
SUPPORT_C    := $(wildcard tests/support_*.c)
BENCHES      := $(patsubst bench/%.c,%,$(wildcard bench/bench_*.c))
PAGES        := $(wildcard man/*.[1-8])

pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)
YAML_LIBS       := -lyaml
HTTP_LIBS       := -lcurl -luring -ljansson
SUPERVISOR_LIBS := -lsystemd -lbsd -luring -lyaml
CLI_LIBS        := -lcurl -luring -ljansson -lyaml -lbsd
ALL_LIBS        := -lcurl -luring -ljansson -lyaml -lsystemd -lbsd

comma := ,
objects = $(patsubst %.c,$(1)/%.o,$(2))

.PHONY: all deps deps-test demo check bench lint format install uninstall clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(B)/libration.so $(B)/libration.a \
     $(B)/libration-embed.so $(B)/libration-embed.a \
     $(B)/libration-http.so $(B)/libration-http.a \
     $(B)/rationd $(B)/ration $(EXAMPLES:%=$(B)/examples/%)

help:
	@echo "all        build everything into $(B)/"
	@echo "demo       a fleet of workers against a real nginx, with and without ration"
	@echo "check      build with sanitizers, run all tests"
	@echo "bench      measure (see bench/README)"
	@echo "lint       formatting, clang-tidy, cppcheck, function sizes"
	@echo "format     format all sources"
	@echo "deps       install what building needs; deps-test: what check and demo need"
	@echo "install    install below \$$(DESTDIR)\$$(PREFIX); uninstall removes it"

# --- three ways to compile everything: release, address and undefined, thread ---

define variant
$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@$(if $(filter 1,$(V)),,echo "  CC    $$@")
	$(Q)$$(CC) $(BASE) $(2) $$(CPPFLAGS) $$(CFLAGS) -c -o $$@ $$<

$(1)/libration.a: $(call objects,$(1),$(CORE_C))
$(1)/libration-embed.a: $(call objects,$(1),$(EMBED_C))
$(1)/libration-http.a: $(call objects,$(1),$(HTTP_C))
$(1)/supervisor.a: $(call objects,$(1),$(filter-out %/main.c,$(SUPERVISOR_C)))
$(1)/cli.a: $(call objects,$(1),$(filter-out %/main.c,$(CLI_C)))
$(1)/support.a: $(call objects,$(1),$(SUPPORT_C))
$(1)/libration.a $(1)/libration-embed.a $(1)/libration-http.a $(1)/supervisor.a $(1)/cli.a $(1)/support.a:
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)ar rcs $$@ $$^

$(1)/rationd: $(1)/src/supervisor/main.o $(1)/supervisor.a $(1)/libration-embed.a $(1)/libration.a
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(2) $(3) -o $$@ $$^ $(SUPERVISOR_LIBS)

$(1)/ration: $(1)/src/cli/main.o $(1)/cli.a $(1)/libration-http.a $(1)/libration-embed.a $(1)/libration.a
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(2) $(3) -o $$@ $$^ $(CLI_LIBS)

$(1)/tests/%: $(1)/tests/%.o $(1)/support.a $(1)/cli.a $(1)/supervisor.a $(1)/libration-http.a \
              $(1)/libration-embed.a $(1)/libration.a
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(2) -o $$@ $$^ -lcriterion $(ALL_LIBS)

$(1)/bench/%: $(1)/bench/%.o $(1)/cli.a $(1)/libration-http.a $(1)/libration-embed.a $(1)/libration.a
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(2) $(3) -o $$@ $$^ $(ALL_LIBS) -lhiredis

$(1)/examples/%: $(1)/src/examples/%.o $(1)/libration-http.a $(1)/libration-embed.a $(1)/libration.a
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(2) $(3) -o $$@ $$^ $(HTTP_LIBS) $(YAML_LIBS)
endef

$(eval $(call variant,$(B),$(RELEASE),-pie -Wl$(comma)-z$(comma)relro$(comma)-z$(comma)now))
$(eval $(call variant,$(B)/asan,$(ASAN),))
$(eval $(call variant,$(B)/tsan,$(TSAN),))

# --- shared libraries: only what the map names is visible ---

# $(1) name  $(2) objects  $(3) map  $(4) what it links with
define shared
$(B)/$(1).so.$(VERSION): $(2) $(3)
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(RELEASE) -shared -Wl,-soname,$(1).so.$(SO_MAJOR) -Wl,--version-script=$(3) \
		-Wl,--no-undefined -Wl,-z,relro,-z,now -o $$@ $(2) $(4)
$(B)/$(1).so.$(SO_MAJOR): $(B)/$(1).so.$(VERSION)
	$(Q)ln -sf $(1).so.$(VERSION) $$@
$(B)/$(1).so: $(B)/$(1).so.$(SO_MAJOR)
	$(Q)ln -sf $(1).so.$(SO_MAJOR) $$@
endef

$(eval $(call shared,libration,$(call objects,$(B),$(CORE_C)),src/client/libration.map,))

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
