# Makefile - builds, tests and installs ration; `make help` lists the targets
# SPDX-License-Identifier: MIT

PREFIX  ?= /usr/local
DESTDIR ?=
ifeq ($(origin CC),default)
CC      := gcc
endif
B       ?= build
V       ?= 0
JOBS    ?= 2
Q       := $(if $(filter 1,$(V)),,@)
say      = $(if $(filter 1,$(V)),:,printf '  %-7s %s\n' $(1) $(2))
comma   := ,

VERSION  := 0.1.0
SO_MAJOR := 0

# nginx is where only root's PATH leads.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

# CPPFLAGS, CFLAGS and LDFLAGS are the caller's, and come last.
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual \
	-Wconversion -Werror
# Time zones are read by the policy compiler alone; its headers are in no directory that compilers know.
GLIB     := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags glib-2.0 2>/dev/null))
# -mcx16: refunds swap two words at once (src/shm/atomic.h)
LANGUAGE := -std=gnu11 -mcx16 -D_GNU_SOURCE -Iinclude -Isrc $(GLIB)
BASE     := $(LANGUAGE) $(WARNINGS) -MMD -MP -fPIC -fvisibility=hidden
HARDENED := -Wl,-z,relro,-z,now -Wl,--as-needed
RELEASE  := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
ASAN     := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
TSAN     := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
# Instrumented code hides from the compiler what is initialized. gcc says that the thread sanitizer does not know
# fences: that makes it see races where there are none, not the other way round.
ASAN     += -Wno-maybe-uninitialized
TSAN     += -Wno-maybe-uninitialized -Wno-tsan
ifneq ($(findstring clang,$(CC)),)
ASAN     += -Wno-unknown-warning-option
TSAN     += -Wno-unknown-warning-option
endif

sources      = $(sort $(foreach d,$(1),$(wildcard src/$(d)/*.c)))
CORE_C       := $(call sources,shm client)
POLICY_C     := $(call sources,policy)
SIGNAL_C     := $(call sources,signal)
HTTP_C       := $(call sources,http)
SUPERVISOR_C := $(call sources,supervisor)
CLI_C        := $(call sources,cli)
EXAMPLES_C   := $(call sources,examples)
ALL_C        := $(CORE_C) $(POLICY_C) $(SIGNAL_C) $(HTTP_C) $(SUPERVISOR_C) $(CLI_C) $(EXAMPLES_C)
SUPPORT_C    := $(wildcard tests/support_*.c)
BENCH_C      := $(wildcard bench/support_*.c)
BENCHES      := $(patsubst %.c,%,$(wildcard bench/bench_*.c))
TESTS        := $(patsubst %.c,%,$(wildcard tests/test_*.c))
TSAN_TESTS   := $(patsubst %.c,%,$(wildcard tests/tsan_*.c))
# The explorer of interleavings: what all areas share, and one program an area. A mutant is named after its area.
MODEL_ENGINE := coroutine explore main reference report taker visited world
MODEL_AREAS  := $(filter-out $(MODEL_ENGINE),$(patsubst tests/model/%.c,%,$(wildcard tests/model/*.c)))
MUTANTS      := $(sort $(wildcard tests/model/mutants/*.patch))
FUZZERS      := $(patsubst tests/fuzz_%.c,%,$(wildcard tests/fuzz_*.c))
STEP_TESTS   := $(patsubst %.c,%,$(wildcard tests/step_*.c))
EXAMPLES     := $(patsubst src/%.c,%,$(EXAMPLES_C))
LIBRARIES    := libration libration-embed libration-http
PAGES        := $(sort $(wildcard man/*.[1-8]))
HEADERS      := $(sort $(wildcard include/ration/*.h))
UNITS        := $(sort $(wildcard systemd/*.service systemd/*.socket))
VENDORS      := $(sort $(wildcard src/vendors/*.yaml))
SAMPLES      := $(sort $(filter-out %/demo.sh,$(wildcard src/examples/*)))

POLICY_LIBS     := -lyaml -lglib-2.0
SIGNAL_LIBS     := -ljansson -lpcre2-8
HTTP_LIBS       := -lcurl -luring
SUPERVISOR_LIBS := -lsystemd -lbsd -lmicrohttpd $(POLICY_LIBS)
CLI_LIBS        := $(SIGNAL_LIBS) -lbsd $(HTTP_LIBS) $(POLICY_LIBS)
ALL_LIBS        := -lsystemd -lmicrohttpd -lm $(CLI_LIBS)

objects = $(patsubst %.c,$(1)/%.o,$(2))

.PHONY: all deps deps-test demo check model fuzz torture bench bench-loop lint format install uninstall clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(foreach l,$(LIBRARIES),$(B)/$(l).so $(B)/$(l).a) $(B)/rationd $(B)/ration $(EXAMPLES:%=$(B)/%)

help:
	@echo "all        build everything into $(B)/"
	@echo "demo       a fleet of workers against a real nginx, with and without ration"
	@echo "check      build with sanitizers, run all tests"
	@echo "model      explore every interleaving of src/shm, the long form; MUTATE=PATCH: is this mistake found?"
	@echo "fuzz       feed adapters with whatever libFuzzer thinks of; FOR=SECONDS each, 60 unless told"
	@echo "torture    kill, refuse and scribble under load; FOR=SECONDS in all, 60 unless told"
	@echo "bench      measure what an acquire and a request cost"
	@echo "bench-loop what becomes of vendors that grant another number than the policy says; 10 minutes"
	@echo "lint       formatting, clang-tidy, cppcheck, function sizes"
	@echo "format     format all sources"
	@echo "deps       install what building needs; deps-test: what demo and check need too"
	@echo "install    install below \$$(DESTDIR)\$$(PREFIX); uninstall removes it"
	@echo "clean      remove $(B)/"
	@echo "V=1 shows the commands, CC=clang takes another compiler."

# What was compiled with other flags or another compiler is compiled again.
FLAGS := $(CC) $(BASE) $(RELEASE) $(ASAN) $(TSAN) $(CPPFLAGS) $(CFLAGS)
$(B)/.flags: force
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@
.PHONY: force objects
objects: $(call objects,$(B),$(ALL_C) $(BENCH_C)) $(B)/vendors.o $(BENCHES:%=$(B)/%.o)

# --- three ways to compile everything: release, address and undefined, thread ---

# $(1) directory  $(2) how to compile  $(3) how to link programs
# The archives made here are for our own programs and tests: one a layer, its internals visible.
define variant
$(1)/%.o: %.c $(B)/.flags
	@mkdir -p $$(@D)
	@$(call say,CC,$$@)
	$(Q)$$(CC) $(BASE) $(2) $$(CPPFLAGS) $$(CFLAGS) -c -o $$@ $$<

$(1)/vendors.o: $(B)/vendors.c $(B)/.flags
	@mkdir -p $$(@D)
	@$(call say,CC,$$@)
	$(Q)$$(CC) $(BASE) $(2) $$(CPPFLAGS) $$(CFLAGS) -c -o $$@ $$<

$(1)/core.a: $(call objects,$(1),$(CORE_C))
$(1)/policy.a: $(call objects,$(1),$(POLICY_C)) $(1)/vendors.o
$(1)/signal.a: $(call objects,$(1),$(SIGNAL_C))
$(1)/http.a: $(call objects,$(1),$(HTTP_C))
$(1)/supervisor.a: $(call objects,$(1),$(filter-out %/main.c,$(SUPERVISOR_C)))
$(1)/cli.a: $(call objects,$(1),$(filter-out %/main.c,$(CLI_C)))
$(1)/tests/support.a: $(call objects,$(1),$(SUPPORT_C))
$(1)/bench/support.a: $(call objects,$(1),$(BENCH_C))
$(foreach a,core policy signal http supervisor cli tests/support bench/support,$(1)/$(a).a):
	@mkdir -p $$(@D)
	@rm -f $$@
	$(Q)ar rcs $$@ $$^

$(1)/rationd: $(1)/src/supervisor/main.o $(1)/supervisor.a $(1)/policy.a $(1)/core.a
	@$(call say,LINK,$$@)
	$(Q)$$(CC) $(2) $(3) $$(LDFLAGS) -o $$@ $$^ $(SUPERVISOR_LIBS)

$(1)/ration: $(1)/src/cli/main.o $(1)/cli.a $(1)/supervisor.a $(1)/http.a $(1)/signal.a $(1)/policy.a $(1)/core.a
	@$(call say,LINK,$$@)
	$(Q)$$(CC) $(2) $(3) $$(LDFLAGS) -o $$@ $$^ $(CLI_LIBS)

$(1)/tests/%: $(1)/tests/%.o $(1)/tests/support.a $(1)/cli.a $(1)/supervisor.a $(1)/http.a \
		$(1)/signal.a $(1)/policy.a $(1)/core.a
	@$(call say,LINK,$$@)
	$(Q)$$(CC) $(2) $$(LDFLAGS) -o $$@ $$^ -lcriterion $(ALL_LIBS)

$(1)/bench/%: $(1)/bench/%.o $(1)/bench/support.a $(1)/cli.a $(1)/supervisor.a $(1)/http.a $(1)/signal.a $(1)/policy.a \
		$(1)/core.a
	@$(call say,LINK,$$@)
	$(Q)$$(CC) $(2) $(3) $$(LDFLAGS) -o $$@ $$^ $(ALL_LIBS)
endef

# The adapters and presets that are shipped are inside the programs and libration-embed: nobody needs files for them.
$(B)/vendors.c: src/policy/shipped.sh $(VENDORS)
	@mkdir -p $(@D)
	@$(call say,GEN,$@)
	$(Q)src/policy/shipped.sh $(VENDORS) >$@

$(eval $(call variant,$(B),$(RELEASE),-pie $(HARDENED)))
$(eval $(call variant,$(B)/asan,$(ASAN),))
$(eval $(call variant,$(B)/tsan,$(TSAN),))

# --- the libraries: only what the map names is visible, in the archive too ---

# libration-embed has its own copy of libration's insides: they are nobody else's business.
libration_C       := $(CORE_C)
libration_MAP     := src/client/libration.map
libration-embed_C := $(POLICY_C) vendors.c $(CORE_C)
libration-embed_MAP  := src/policy/libration-embed.map
libration-embed_LIBS := $(POLICY_LIBS)
# Adapters are read by the policy's reader of YAML, of which it has what that needs.
libration-http_C  := $(HTTP_C) $(SIGNAL_C) vendors.c \
	$(patsubst %,src/policy/%.c,arena fields nearest notes scalar schema source tree)
libration-http_MAP   := src/http/libration-http.map
libration-http_LIBS  := -L$(B) -lration $(HTTP_LIBS) $(SIGNAL_LIBS) -lyaml

# $(1) name
define library
$(B)/$(1).so.$(VERSION): $(call objects,$(B),$($(1)_C)) $($(1)_MAP)
	@$(call say,LINK,$$@)
	$(Q)$$(CC) $(RELEASE) -shared -Wl,-soname$(comma)$(1).so.$(SO_MAJOR) -Wl,--version-script=$($(1)_MAP) \
		-Wl,-z,defs $(HARDENED) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $($(1)_LIBS)
$(B)/$(1).so.$(SO_MAJOR): $(B)/$(1).so.$(VERSION)
	@ln -sf $(1).so.$(VERSION) $$@
$(B)/$(1).so: $(B)/$(1).so.$(SO_MAJOR)
	@ln -sf $(1).so.$(SO_MAJOR) $$@

$(B)/$(1).a: $(call objects,$(B),$($(1)_C)) $($(1)_MAP)
	@$(call say,AR,$$@)
	@rm -f $$@
	@sed -n 's/^\t\([a-z0-9_]*\);/\1/p' $($(1)_MAP) >$(B)/$(1).globals
	$(Q)ld -r -o $(B)/$(1).o $$(filter %.o,$$^)
	$(Q)objcopy --keep-global-symbols=$(B)/$(1).globals $(B)/$(1).o
	$(Q)ar rcs $$@ $(B)/$(1).o
endef

$(foreach l,$(LIBRARIES),$(eval $(call library,$(l))))
$(B)/libration-http.so.$(VERSION): | $(B)/libration.so

# The examples are users: they get what users get.
$(B)/examples/%: $(B)/src/examples/%.o $(B)/libration-http.a $(B)/libration-embed.a $(B)/libration.a
	@mkdir -p $(@D)
	@$(call say,LINK,$@)
	$(Q)$(CC) $(RELEASE) -pie $(HARDENED) $(LDFLAGS) -o $@ $^ $(HTTP_LIBS) $(SIGNAL_LIBS) $(POLICY_LIBS)

# --- packages ---

BUILD_PACKAGES := gcc make pkg-config libc6-dev liburing-dev libcurl4-openssl-dev libbsd-dev \
	libjansson-dev libpcre2-dev libyaml-dev libglib2.0-dev libsystemd-dev libmicrohttpd-dev
# clang has its sanitizers in a package of their own. ca-certificates: what libcurl trusts unless told otherwise;
# procps: the kill that the unit's ExecReload= names.
TEST_PACKAGES := $(BUILD_PACKAGES) g++ clang libclang-rt-dev musl-tools \
	libcriterion-dev nginx haproxy prometheus openssl ca-certificates redis-server strace mandoc systemd procps python3 nodejs tzdata
LINT_PACKAGES := $(BUILD_PACKAGES) clang-format clang-tidy cppcheck universal-ctags

deps:
	@.ci/deps $(BUILD_PACKAGES)

deps-test:
	@.ci/deps $(TEST_PACKAGES)

# --- the two commands of the README ---

demo: deps-test
	@$(MAKE) --no-print-directory all
	@RATION_BUILD=$(B) src/examples/demo.sh

# What cannot be built is a test that failed, and does not keep the others from running.
check: deps-test
	@$(MAKE) --no-print-directory -k -j$(JOBS) all check-build || :
	@$(MAKE) --no-print-directory -s check-list >$(B)/check.list
	@RATION_BUILD=$(B)/asan tests/run_tests.sh $(JOBS) $(B)/check.list

# --- every interleaving of the real src/shm: tests/model/explore.h ---

# Few attempts, counters, places in line and cells, so that running out of them is explored too.
MODEL_FLAGS = -O2 -g -Wno-missing-field-initializers -include tests/model/yield.h -DCAS_ATTEMPTS=3 -DSTAT_CELLS=4u -DQUEUE_PLACES=3u \
	-DROLLING_CELLS=2u -DROLLING_RING=3u -DNAME_BYTES_MAX=64u \
	-DEVENT_CELLS=2u -DEVENT_WORDS=3u
MODEL_C    := $(call sources,shm)
MODEL_AREA  = $(firstword $(subst -, ,$(notdir $(basename $(1)))))
mutate      = MODEL_CC="$(CC) $(filter-out -I%,$(LANGUAGE)) $(MODEL_FLAGS)" MODEL_ENGINE="$(MODEL_ENGINE)" tests/model/mutate.sh $(B)/model

$(B)/model/%.o: %.c $(B)/.flags
	@mkdir -p $(@D)
	@$(call say,CC,$@)
	$(Q)$(CC) $(BASE) $(MODEL_FLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(B)/model/shm.a: $(call objects,$(B)/model,$(MODEL_C))
$(B)/model/engine.a: $(MODEL_ENGINE:%=$(B)/model/tests/model/%.o)
$(B)/model/shm.a $(B)/model/engine.a:
	@rm -f $@
	$(Q)ar rcs $@ $^

$(MODEL_AREAS:%=$(B)/model/%): $(B)/model/%: $(B)/model/tests/model/%.o $(B)/model/engine.a $(B)/model/shm.a
	@$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^

.PHONY: model-build model-list
model-build: $(MODEL_AREAS:%=$(B)/model/%)

ifdef MUTATE
model: model-build
	@$(mutate) $(MUTATE) $(MODEL_AREAS)
else
model: model-build
	@set -e; for area in $(MODEL_AREAS); do $(B)/model/$$area --all --compare; done
	@$(MAKE) --no-print-directory -s model-list | grep ^check >$(B)/model.list
	@RATION_BUILD=$(B)/asan tests/run_tests.sh $(JOBS) $(B)/model.list
endif

# Each mistake must be found by the scenarios of its area.
model-list:
	@for a in $(MODEL_AREAS); do echo "program $(B)/model/$$a"; done
	@$(foreach m,$(MUTANTS),echo 'check found-$(basename $(notdir $(m))) $(mutate) $(m) $(call MODEL_AREA,$(m))';) :

# --- whatever libFuzzer thinks of: it comes with clang ---

FOR        ?= 60
FUZZ_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_RUNS_signal  := 20000
FUZZ_RUNS_adapter := 1000
FUZZ_RUNS_checkpoint := 20000
# What of the supervisor takes bytes from elsewhere.
FUZZ_SUPERVISOR_C := $(patsubst %,src/supervisor/%.c,checkpoint_file checkpoint_restore published record spent)

$(B)/fuzz/%.o: %.c $(B)/.flags
	@mkdir -p $(@D)
	@$(call say,CC,$@)
	$(Q)clang $(BASE) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(B)/fuzz/vendors.o: $(B)/vendors.c $(B)/.flags
	@mkdir -p $(@D)
	$(Q)clang $(BASE) $(FUZZ_FLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(FUZZERS:%=$(B)/fuzz/tests/fuzz_%): %: %.o $(call objects,$(B)/fuzz,$(FUZZ_SUPERVISOR_C) $(SIGNAL_C) $(POLICY_C) $(CORE_C)) \
		$(B)/fuzz/vendors.o
	@$(call say,LINK,$@)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(SIGNAL_LIBS) $(POLICY_LIBS)

.PHONY: fuzz-build
fuzz-build: $(FUZZERS:%=$(B)/fuzz/tests/fuzz_%)

fuzz: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) fuzz-build
	@set -e; for f in $(FUZZERS); do tests/run_fuzz.sh $(B)/fuzz $$f for $(FOR); done

torture: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) $(B)/rationd $(B)/asan/rationd $(B)/asan/tests/test_torture $(B)/asan/tests/test_faults
	@tests/run_torture.sh $(B) $(FOR)

CXX_SMOKES := $(B)/smoke_g++ $(B)/smoke_clang++

.PHONY: check-build check-clang check-list
check-build: $(B)/rationd $(B)/asan/ration $(B)/asan/rationd $(TESTS:%=$(B)/asan/%) $(TSAN_TESTS:%=$(B)/tsan/%) $(STEP_TESTS:%=$(B)/%) \
	$(B)/smoke_musl $(CXX_SMOKES) $(B)/asan/tests/preload_clock.so model-build fuzz-build check-clang

check-clang:
	+@$(MAKE) --no-print-directory CC=clang B=$(B)/clang objects

# One line a test, as tests/run_tests.sh reads them.
check-list:
	@for t in $(TESTS:%=$(B)/asan/%); do echo "criterion $$t"; done
	@for t in $(TSAN_TESTS:%=$(B)/tsan/%) $(STEP_TESTS:%=$(B)/%) $(B)/smoke_musl $(CXX_SMOKES); do echo "program $$t"; done
	@echo "check all-builds $(MAKE) --no-print-directory -s all"
	@echo "check all-builds-by-clang $(MAKE) --no-print-directory -s check-clang"
	@echo "check runner tests/run_self.sh"
	@echo "check symbols tests/run_symbols.sh $(B)"
	@echo "check install tests/run_install.sh $(B) $(MAKE) --no-print-directory -s"
	@$(MAKE) --no-print-directory -s model-list
	@$(foreach f,$(FUZZERS),echo "check fuzz_$(f) tests/run_fuzz.sh $(B)/fuzz $(f) runs $(FUZZ_RUNS_$(f))";) :
	@for p in $(PAGES); do echo "check $$p mandoc -T lint -W warning $$p"; done
	$(if $(UNITS),@echo "check systemd-units tests/run_units.sh $(B) $(UNITS)")

# Preloaded into programs with a sanitizer, so it has none itself.
$(B)/asan/tests/preload_clock.so: tests/preload_clock.c
	@mkdir -p $(@D)
	@$(call say,LINK,$@)
	$(Q)$(CC) $(LANGUAGE) $(WARNINGS) -O2 -fPIC -shared -o $@ $<

# libration needs nothing of glibc's.
MUSL_C := $(CORE_C) tests/smoke_musl.c
$(B)/smoke_musl: $(MUSL_C) $(wildcard src/shm/*.h src/client/*.h) $(HEADERS)
	@mkdir -p $(@D)
	@$(call say,MUSL,$@)
	$(Q)musl-gcc -static $(LANGUAGE) -O2 -Wall -Wextra -Werror -o $@ $(MUSL_C)

$(CXX_SMOKES): $(B)/smoke_%: tests/smoke_cxx.cc $(HEADERS) $(B)/libration.so $(B)/libration-http.so
	@$(call say,CXX,$@)
	$(Q)$* -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -o $@ $< -L$(B) -lration-http -lration \
		-Wl,-rpath,$(abspath $(B))

# --- measuring and tidying ---

bench: deps-test
	@$(MAKE) --no-print-directory all $(BENCHES:%=$(B)/%)
	@RATION_BUILD=$(B) bench/run.sh

bench-loop: deps-test
	@$(MAKE) --no-print-directory all $(B)/bench/vendor
	@RATION_BUILD=$(B) bench/closed_loop.sh

$(B)/bench/vendor: bench/vendor.c tests/support_quota.c tests/support_quota.h
	@mkdir -p $(@D)
	@$(call say,LINK,$@)
	$(Q)$(CC) $(LANGUAGE) $(WARNINGS) -O2 -Itests -o $@ bench/vendor.c tests/support_quota.c -lmicrohttpd -pthread

OUR_HEADERS := $(wildcard src/*/*.h) $(HEADERS)
FORMATTED   := $(wildcard src/*/*.[ch] tests/*.[ch] tests/model/*.[ch] bench/*.[ch]) $(HEADERS)

.PHONY: lint-format lint-tidy lint-cppcheck lint-sizes
lint:
	@.ci/deps $(LINT_PACKAGES)
	@$(MAKE) --no-print-directory -k -j$(JOBS) lint-format lint-tidy lint-cppcheck lint-sizes

lint-format:
	@$(call say,FORMAT,.)
	$(Q)clang-format --dry-run -Werror $(FORMATTED)

lint-tidy: $(ALL_C:%.c=$(B)/tidy/%.ok)
$(B)/tidy/%.ok: %.c $(OUR_HEADERS) .clang-tidy
	@mkdir -p $(@D)
	@$(call say,TIDY,$<)
	$(Q)clang-tidy --quiet $< -- $(LANGUAGE) 2>$@.err || { cat $@.err; exit 1; }
	@touch $@

lint-cppcheck:
	@$(call say,CPPCHECK,.)
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 -D_GNU_SOURCE -D__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16=1 -D__linux__ \
		-Iinclude -Isrc -Itests $(ALL_C) $(BENCH_C) $(BENCHES:%=%.c) bench/vendor.c

lint-sizes:
	@tests/run_sizes.sh $(ALL_C)

format:
	clang-format -i $(FORMATTED)

# --- installing ---

bindir      := $(PREFIX)/bin
sbindir     := $(PREFIX)/sbin
libdir      := $(PREFIX)/lib
includedir  := $(PREFIX)/include
mandir      := $(PREFIX)/share/man
samplesdir  := $(PREFIX)/share/ration/examples
vendorsdir  := $(PREFIX)/share/ration/vendors
unitdir     := $(PREFIX)/lib/systemd/system
sysusersdir := $(PREFIX)/lib/sysusers.d
SYSUSERS    := $(wildcard systemd/*.sysusers)
SHARED      := $(foreach l,$(LIBRARIES),$(l).so $(l).so.$(SO_MAJOR) $(l).so.$(VERSION))
PC          := $(foreach l,$(LIBRARIES),$(l).pc)
# libration.map has libration.pc.in beside it.
pc_in        = $(patsubst %.map,%.pc.in,$($(1)_MAP))
page         = $(mandir)/man$(subst .,,$(suffix $(1)))/$(notdir $(1))
samples      = $(SAMPLES:src/examples/%=$(samplesdir)/%)

install: all
	$(Q)install -d $(addprefix $(DESTDIR),$(bindir) $(sbindir) $(libdir)/pkgconfig $(includedir)/ration \
		$(samplesdir) $(vendorsdir) $(unitdir) $(sysusersdir))
	$(Q)install -m 755 $(B)/ration $(DESTDIR)$(bindir)/
	$(Q)install -m 755 $(B)/rationd $(DESTDIR)$(sbindir)/
	$(Q)cp -P $(addprefix $(B)/,$(SHARED)) $(DESTDIR)$(libdir)/
	$(Q)install -m 644 $(LIBRARIES:%=$(B)/%.a) $(DESTDIR)$(libdir)/
	$(Q)install -m 644 $(HEADERS) $(DESTDIR)$(includedir)/ration/
	$(Q)$(foreach l,$(LIBRARIES),sed -e 's,@PREFIX@,$(PREFIX),' -e 's,@VERSION@,$(VERSION),' $(call pc_in,$(l)) \
		>$(DESTDIR)$(libdir)/pkgconfig/$(l).pc &&) :
	$(Q)$(foreach p,$(PAGES),install -D -m 644 $(p) $(DESTDIR)$(call page,$(p)) &&) :
	$(Q)$(foreach u,$(UNITS),sed 's,/usr/sbin/rationd,$(sbindir)/rationd,' $(u) \
		>$(DESTDIR)$(unitdir)/$(notdir $(u)) &&) :
	$(Q)$(foreach s,$(SYSUSERS),install -m 644 $(s) $(DESTDIR)$(sysusersdir)/$(notdir $(s:.sysusers=.conf)) &&) :
	$(Q)cp $(SAMPLES) $(DESTDIR)$(samplesdir)/
	$(Q)install -m 644 $(VENDORS) $(DESTDIR)$(vendorsdir)/

uninstall:
	$(Q)rm -f $(addprefix $(DESTDIR),$(bindir)/ration $(sbindir)/rationd \
		$(addprefix $(libdir)/,$(SHARED) $(LIBRARIES:%=%.a) $(PC:%=pkgconfig/%)) \
		$(HEADERS:include/%=$(includedir)/%) $(foreach p,$(PAGES),$(call page,$(p))) \
		$(UNITS:systemd/%=$(unitdir)/%) $(SYSUSERS:systemd/%.sysusers=$(sysusersdir)/%.conf) $(samples) \
		$(VENDORS:src/vendors/%=$(vendorsdir)/%))
	$(Q)rmdir $(DESTDIR)$(includedir)/ration $(DESTDIR)$(samplesdir) $(DESTDIR)$(vendorsdir) \
		$(DESTDIR)$(dir $(samplesdir)) 2>/dev/null || :

clean:
	rm -rf $(B)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
