#!/usr/bin/env python3
# src/examples/worker.py - a worker in Python: asks `ration pipe` before each request
# SPDX-License-Identifier: MIT
#
# Usage: worker.py TENANT VENDOR CLASS URL...
# Finds the supervisor as every worker does: $RATION_SOCKET, or the usual places.
import json
import subprocess
import sys
import urllib.request

ration = subprocess.Popen(["ration", "pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(**line):
    print(json.dumps(line), file=ration.stdin, flush=True)
    return json.loads(ration.stdout.readline())


tenant, vendor, traffic_class, *urls = sys.argv[1:]
for url in urls:
    permit = ask(op="acquire", tenant=tenant, vendor=vendor, wait_ms=10000, **{"class": traffic_class})
    if not permit["ok"]:
        sys.exit(permit.get("text") or permit["error"])
    with urllib.request.urlopen(url) as answer:
        print(answer.status, url)
    ask(op="settle", ticket=permit["ticket"])
