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
BENCH_C      := $(wildcard bench/support_*.c)
PAGES        := $(wildcard man/*.[1-8])

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
$(1)/bench/support.a: $(call objects,$(1),$(BENCH_C))
$(1)/libration.a $(1)/libration-embed.a $(1)/libration-http.a $(1)/supervisor.a $(1)/cli.a $(1)/support.a \
$(1)/bench/support.a:
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

$(1)/bench/%: $(1)/bench/%.o $(1)/bench/support.a $(1)/cli.a $(1)/libration-http.a \
              $(1)/libration-embed.a $(1)/libration.a
	@echo "  LINK  $$@"
	$(Q)$$(CC) $(2) $(3) -o $$@ $$^ $(ALL_LIBS)

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
$(eval $(call shared,libration-embed,$(call objects,$(B),$(EMBED_C)) $(call objects,$(B),$(CORE_C)),src/policy/libration-embed.map,$(YAML_LIBS)))
$(eval $(call shared,libration-http,$(call objects,$(B),$(HTTP_C)),src/http/libration-http.map,-L$(B) -lration $(HTTP_LIBS)))
$(B)/libration-http.so.$(VERSION): $(B)/libration.so

# --- packages ---

BUILD_PACKAGES := gcc make pkg-config libc6-dev liburing-dev libcurl4-openssl-dev libbsd-dev \
	libjansson-dev libyaml-dev libsystemd-dev
TEST_PACKAGES := $(BUILD_PACKAGES) g++ clang libclang-rt-14-dev libcriterion-dev musl-tools \
	nginx-light openssl strace mandoc systemd python3 nodejs redis-server procps
LINT_PACKAGES := clang-format clang-tidy cppcheck universal-ctags

deps:
	@.ci/deps $(BUILD_PACKAGES)

deps-test:
	@.ci/deps $(TEST_PACKAGES)

# --- the README's two commands ---

demo: deps-test
	@$(MAKE) --no-print-directory all
	@RATION_BUILD=$(B) src/examples/demo.sh

JOBS ?= 2

check: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) all check-programs
	@$(MAKE) --no-print-directory -s check-list >$(B)/tests.list
	@RATION_BUILD=$(B)/asan tests/run_tests.sh $(JOBS) $(B)/tests.list

check-programs: $(B)/asan/ration $(B)/asan/rationd $(TESTS:%=$(B)/asan/tests/%) \
	$(TSAN_TESTS:%=$(B)/tsan/tests/%)

# One line a test, as tests/run_tests.sh reads them.
check-list:
	@for t in $(TESTS); do echo "criterion $(B)/asan/tests/$$t"; done
	@for t in $(TSAN_TESTS); do echo "criterion $(B)/tsan/tests/$$t"; done
	@echo "check clang $(MAKE) --no-print-directory -s CC=clang B=$(B)/clang all"
	@echo "check musl $(MAKE) --no-print-directory -s $(B)/smoke_musl && $(B)/smoke_musl"
	@for c in g++ clang++; do echo "check $$c $$c -std=c++17 -Wall -Wextra -Werror -Iinclude" \
		"tests/smoke_cxx.cc -o $(B)/smoke_$$c -L$(B) -lration -Wl,-rpath,$(abspath $(B)) && $(B)/smoke_$$c"; done
	@for p in $(PAGES); do echo "check $$p mandoc -T lint -W warning $$p"; done
	@echo "check systemd-verify tests/run_units.sh $(B)"

.PHONY: check-programs check-list

MUSL_C := $(CORE_C) tests/smoke_musl.c
$(B)/smoke_musl: $(MUSL_C)
	@mkdir -p $(@D)
	$(Q)musl-gcc -static -std=gnu11 $(ARCH) $(CPPFLAGS) -O2 -Wall -Wextra -Werror -o $@ $(MUSL_C)

# --- measuring and tidying ---

bench: deps-test
	@$(MAKE) --no-print-directory all $(BENCHES:%=$(B)/bench/%)
	@RATION_BUILD=$(B) bench/run.sh

TIDY_C := $(ALL_C) $(wildcard src/examples/*.c)
FORMATTED := $(wildcard src/*/*.[ch] include/ration/*.h tests/*.[ch] bench/*.[ch])

lint:
	@.ci/deps $(BUILD_PACKAGES) $(LINT_PACKAGES)
	clang-format --dry-run -Werror $(FORMATTED)
	clang-tidy --quiet $(TIDY_C) -- -std=gnu11 $(ARCH) $(CPPFLAGS)
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 -D_GNU_SOURCE -D__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16=1 \
		-D__linux__ -Iinclude -Isrc $(TIDY_C)
	tests/run_sizes.sh $(TIDY_C)

format:
	clang-format -i $(FORMATTED)

# --- installing ---

bindir     := $(PREFIX)/bin
sbindir    := $(PREFIX)/sbin
libdir     := $(PREFIX)/lib
includedir := $(PREFIX)/include/ration
mandir     := $(PREFIX)/share/man
sharedir   := $(PREFIX)/share/ration
unitdir    := $(PREFIX)/lib/systemd/system
sysusers   := $(PREFIX)/lib/sysusers.d
LIBRARIES  := libration libration-embed libration-http
SHARED     := $(foreach l,$(LIBRARIES),$(l).so $(l).so.$(SO_MAJOR) $(l).so.$(VERSION))
UNITS      := rationd.service rationd.socket
HEADERS    := $(notdir $(wildcard include/ration/*.h))
SAMPLES    := $(notdir $(filter-out %.c,$(wildcard src/examples/*)))

# $(1) library  $(2) what it is  $(3) what else it needs
define pkgconfig
printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' \
	'Name: $(1)' 'Description: $(2)' 'Version: $(VERSION)' $(3) \
	'Libs: -L$${libdir} -l$(1:lib%=%)' 'Cflags: -I$${includedir}' \
	>$(DESTDIR)$(libdir)/pkgconfig/$(1).pc
endef

install: all
	install -d $(addprefix $(DESTDIR),$(bindir) $(sbindir) $(libdir)/pkgconfig $(includedir) \
		$(sharedir)/examples $(unitdir) $(sysusers))
	install -m 755 $(B)/ration $(DESTDIR)$(bindir)/ration
	install -m 755 $(B)/rationd $(DESTDIR)$(sbindir)/rationd
	cp -P $(addprefix $(B)/,$(SHARED)) $(DESTDIR)$(libdir)/
	install -m 644 $(LIBRARIES:%=$(B)/%.a) $(DESTDIR)$(libdir)/
	install -m 644 $(HEADERS:%=include/ration/%) $(DESTDIR)$(includedir)/
	@$(call pkgconfig,libration,take from shared vendor quotas)
	@$(call pkgconfig,libration-embed,ration without a supervisor,'Requires: libration' 'Requires.private: yaml-0.1')
	@$(call pkgconfig,libration-http,send requests within their quota,'Requires: libration' 'Requires.private: libcurl liburing jansson')
	for p in $(PAGES); do install -D -m 644 $$p $(DESTDIR)$(mandir)/man$${p##*.}/$${p##*/}; done
	for u in $(UNITS); do sed 's,/usr/sbin/,$(sbindir)/,' systemd/$$u >$(DESTDIR)$(unitdir)/$$u; done
	install -m 644 systemd/ration.sysusers $(DESTDIR)$(sysusers)/ration.conf
	install -m 644 $(SAMPLES:%=src/examples/%) $(DESTDIR)$(sharedir)/examples/

uninstall:
	rm -f $(DESTDIR)$(bindir)/ration $(DESTDIR)$(sbindir)/rationd
	rm -f $(addprefix $(DESTDIR)$(libdir)/,$(SHARED) $(LIBRARIES:%=%.a) $(LIBRARIES:%=pkgconfig/%.pc))
	rm -f $(HEADERS:%=$(DESTDIR)$(includedir)/%)
	for p in $(PAGES); do rm -f $(DESTDIR)$(mandir)/man$${p##*.}/$${p##*/}; done
	rm -f $(UNITS:%=$(DESTDIR)$(unitdir)/%) $(DESTDIR)$(sysusers)/ration.conf
	rm -f $(SAMPLES:%=$(DESTDIR)$(sharedir)/examples/%)
	-rmdir $(DESTDIR)$(includedir) $(DESTDIR)$(sharedir)/examples $(DESTDIR)$(sharedir) 2>/dev/null

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
