/*
 * tests/smoke_cxx.cc - the public headers are usable from C++
 * SPDX-License-Identifier: MIT
 */
#include <ration/http.h>
#include <ration/ration.h>

#include <cstdio>
#include <cstring>

int main()
{
	ration_key key = {};
	ration_error error = {};
	struct ration *attachment = nullptr;
	struct ration_http *engine = nullptr;
	ration_http_request request = {};

	key.tenant = "acme";
	key.vendor = "crm";
	key.traffic_class = "bulk";
	request.url = "http://127.0.0.1/";
	ration_http_free(&engine);
	if (ration_attach("/nonexistent/ration.sock", 0, &attachment, &error) != RATION_ESUPERVISOR)
		return 1;
	std::printf("%s: %s\n", ration_strerror(RATION_ESUPERVISOR), error.text);
	return std::strlen(error.text) == 0 || request.url == nullptr || key.tenant == nullptr;
}
