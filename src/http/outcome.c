/*
 * http/outcome.c - libcurl's results as errors
 * SPDX-License-Identifier: MIT
 *
 * Texts are constants. libcurl's error buffer would say more, but quotes what the other side sent.
 */
#include <errno.h>
#include <stddef.h>

#include "http/engine.h"

static const struct {
	CURLcode code;
	int error;
	const char *text; /* NULL: libcurl's own for the code */
} outcomes[] = {
	{CURLE_URL_MALFORMAT, -EINVAL, NULL},
	{CURLE_UNSUPPORTED_PROTOCOL, -EPROTO, "the answer is not HTTP"},
	{CURLE_OUT_OF_MEMORY, -ENOMEM, NULL},
	{CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH, NULL},
	{CURLE_COULDNT_RESOLVE_PROXY, -EHOSTUNREACH, NULL},
	{CURLE_COULDNT_CONNECT, -ECONNREFUSED, NULL},
	{CURLE_PROXY, -ECONNREFUSED, "the proxy refused"},
	{CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, NULL},
	{CURLE_GOT_NOTHING, -ECONNRESET, "the connection was closed without an answer"},
	{CURLE_SEND_ERROR, -ECONNRESET, "the connection broke while sending"},
	{CURLE_RECV_ERROR, -ECONNRESET, "the connection broke before the end of the answer"},
	{CURLE_PARTIAL_FILE, -ECONNRESET, "the answer broke off"},
	{CURLE_WEIRD_SERVER_REPLY, -EPROTO, NULL},
	{CURLE_BAD_CONTENT_ENCODING, -EPROTO, NULL},
	{CURLE_HTTP2, -EPROTO, NULL},
	{CURLE_HTTP2_STREAM, -EPROTO, NULL},
	{CURLE_PEER_FAILED_VERIFICATION, -EKEYREJECTED, NULL},
	{CURLE_SSL_CACERT_BADFILE, -ENOENT, NULL},
	{CURLE_SSL_ISSUER_ERROR, -EKEYREJECTED, NULL},
	{CURLE_SSL_CONNECT_ERROR, -EPROTO, NULL},
	{CURLE_SSL_CIPHER, -EPROTO, NULL},
};

/* OpenSSL's X509_V_ERR_* values, which is what libcurl passes on. */
static const struct {
	long result;
	const char *text;
} verifications[] = {
	{9, "the server's certificate is not yet valid"},
	{10, "the server's certificate has expired"},
	{18, "the server's certificate is self-signed"},
	{19, "the server's certificate is signed by an unknown authority"},
	{20, "the server's certificate is signed by an unknown authority"},
	{21, "the server's certificate is signed by an unknown authority"},
	{62, "the server's certificate is for another name"},
	{1, "the server's certificate is for another name"}, /* libcurl's own check */
};

static const char *verification_text(CURL *easy)
{
	long result = -1;

	(void)curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &result);
	for (size_t i = 0; i < sizeof(verifications) / sizeof(verifications[0]); i++)
		if (verifications[i].result == result)
			return verifications[i].text;
	return "the server's certificate is not accepted";
}

int outcome_of(CURL *easy, CURLcode code, const char **ret_text)
{
	int error = -EIO;

	*ret_text = code ? curl_easy_strerror(code) : "";
	if (!code)
		return 0;
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		*ret_text = verification_text(easy);
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
		if (outcomes[i].code != code)
			continue;
		error = outcomes[i].error;
		if (outcomes[i].text)
			*ret_text = outcomes[i].text;
	}
	return error;
}
