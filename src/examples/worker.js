#!/usr/bin/env node
// src/examples/worker.js - a worker in Node: asks `ration pipe` before each request
// SPDX-License-Identifier: MIT
//
// Usage: worker.js TENANT VENDOR CLASS URL...
// Finds the supervisor as every worker does: $RATION_SOCKET, or the usual places.
const { spawn } = require("child_process");
const { createInterface } = require("readline");

const ration = spawn("ration", ["pipe"], { stdio: ["pipe", "pipe", "inherit"] });
const asked = new Map();
let last = 0;

// Many may be asked at once: answers are told apart by their id.
createInterface({ input: ration.stdout }).on("line", (line) => {
	const answer = JSON.parse(line);
	asked.get(answer.id)(answer);
	asked.delete(answer.id);
});
const ask = (line) =>
	new Promise((resolve) => {
		asked.set(++last, resolve);
		ration.stdin.write(JSON.stringify({ id: last, ...line }) + "\n");
	});

async function send(tenant, vendor, trafficClass, url) {
	const permit = await ask({ op: "acquire", tenant, vendor, class: trafficClass, wait_ms: 10000 });
	if (!permit.ok) throw new Error(permit.text || permit.error);
	console.log((await fetch(url)).status, url);
	await ask({ op: "settle", ticket: permit.ticket });
}

const [tenant, vendor, trafficClass, ...urls] = process.argv.slice(2);
Promise.all(urls.map((url) => send(tenant, vendor, trafficClass, url)))
	.catch((error) => {
		console.error(error.message);
		process.exitCode = 1;
	})
	.finally(() => ration.stdin.end());
