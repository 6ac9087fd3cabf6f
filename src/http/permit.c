/*
 * http/permit.c - a request's permit: had, looked at once more, ended
 * SPDX-License-Identifier: MIT
 *
 * A permit is good for the policy's `delay`. A warm connection sends within microseconds of it; a
 * new one needs round trips for TCP and TLS, which may be longer than that. So the permit is
 * confirmed when the connection stands and the request is about to be written: one that has become
 * old is given back and another is taken in the same breath.
 */
#include <errno.h>

#include "http/engine.h"

enum {
	CONTENDED_AT_ONCE = 3, /* tries to replace a permit while libcurl waits for the answer */
};

int permit_take(struct transfer *transfer, struct ration_wait *wait)
{
	const struct ration_http_request *spec = &transfer->request->spec;
	struct ration_denial denial;
	uint64_t before = time_now(), after;
	int rc;

	if (!spec->handle && !spec->route) {
		transfer->permit_ns = before;
		return 0;
	}
	if (wait && spec->route)
		rc = routed_take(transfer, wait, &denial);
	else if (wait)
		rc = ration_wait_try(spec->handle, spec->costs, spec->n_costs, wait,
				     &transfer->ticket, &denial);
	else
		rc = ration_acquire(spec->handle, spec->costs, spec->n_costs, &transfer->ticket,
				    &denial);
	after = time_now();
	if (!rc) {
		transfer->permit_ns = after;
		transfer->acquire_ns = after - before;
	}
	/*
	 * A grant in shadow mode comes with a denial too; that one did not make the request wait.
	 */
	if (rc == RATION_DENIED || rc == RATION_OVERSIZE || rc == RATION_WAITING ||
	    rc == RATION_BUSY)
		transfer->denial = denial;
	return rc;
}

int permit_confirm(struct transfer *transfer)
{
	const struct ration *ration = transfer->engine->ration;
	const struct ration_http_request *spec = &transfer->request->spec;
	int rc = RATION_CONTENDED;

	if (!spec->handle)
		return 0;
	if (transfer->ticket.owner && ration_ticket_fresh(ration, &transfer->ticket))
		return 0;
	permit_end(transfer, PERMIT_UNUSED, NULL);
	if (spec->deadline_ns && time_now() > spec->deadline_ns)
		return -ETIME;
	for (int i = 0; i < CONTENDED_AT_ONCE && rc == RATION_CONTENDED; i++)
		rc = permit_take(transfer, NULL);
	return rc;
}

void permit_end(struct transfer *transfer, enum permit_fate fate, const struct feedback *feedback)
{
	struct ration *ration = transfer->engine->ration;

	/*
	 * Neither can fail on a ticket of this process, but that a slot was held too long and is another's, which
	 * changes nothing for this request; and an ended attachment has nothing to correct.
	 */
	if (!transfer->ticket.owner)
		return;
	if (fate == PERMIT_USED)
		(void)ration_settle(ration, &transfer->ticket, feedback ? feedback->actual : NULL,
				    feedback ? feedback->n_actual : 0);
	else if (fate == PERMIT_UNANSWERED)
		(void)ration_abandon(ration, &transfer->ticket);
	else
		(void)ration_cancel(ration, &transfer->ticket);
	transfer->ticket.owner = 0;
}
