/** Errors as Node throws them, and the diagnosis that a person is told. */
import { Failure } from "@longshore/contract/problems/problem.ts";
import t from "tap";
import { saysWhatToDo } from "./testing/action.ts";
import { diagnoseTransport } from "./transport.ts";

const coded = (code: string, cause?: unknown): Error => Object.assign(new Error(code, { cause }), { code });

for (const [name, error, code, says] of [
  ["a refused connection", coded("ECONNREFUSED"), "EndpointUnreachable", /nothing listens/],
  ["a name without an address", coded("ENOTFOUND"), "EndpointUnreachable", /name has no address/],
  [
    "a cause inside a cause",
    new Failure("retry", "unsent", "x", new TypeError("fetch failed", { cause: coded("EAI_AGAIN") })),
    "EndpointUnreachable",
    /name server/,
  ],
  [
    "several addresses that were tried",
    Object.assign(new AggregateError([coded("ECONNREFUSED"), coded("ENETUNREACH")]), { code: "ECONNREFUSED" }),
    "EndpointUnreachable",
    /nothing listens/,
  ],
  ["a certificate that signed itself", coded("DEPTH_ZERO_SELF_SIGNED_CERT"), "TlsUntrusted", /signed by itself/],
  ["an unknown authority", coded("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), "TlsUntrusted", /does not trust/],
  ["an expired certificate", coded("CERT_HAS_EXPIRED"), "TlsUntrusted", /expired/],
  ["another name's certificate", coded("ERR_TLS_CERT_ALTNAME_INVALID"), "TlsUntrusted", /another name/],
  ["http where TLS was meant", coded("ERR_SSL_WRONG_VERSION_NUMBER"), "EndpointUnreachable", /does not speak TLS/],
  ["a silent server", coded("UND_ERR_HEADERS_TIMEOUT"), "EndpointUnreachable", /did not answer in time/],
  ["a code that nobody knows", coded("constructor"), "EndpointUnreachable", /^The group's cluster gave no answer\.$/],
] as const)
  t.test(`tells of ${name}`, async (t) => {
    const found = diagnoseTransport(error);
    t.equal(found.code, code);
    t.match(found.sentence, says);
    t.ok(saysWhatToDo(found.hint), `the hint says what to do: ${found.hint}`);
  });

t.test("names the address that was asked, and quotes the error", async (t) => {
  const found = diagnoseTransport(coded("ECONNREFUSED"), "api.example.com:6443");
  t.equal(found.sentence, "api.example.com:6443 gave no answer: nothing listens at its address.");
  t.match(found.evidence, ["ECONNREFUSED"]);
});

t.test("a cause that is its own cause has an end", async (t) => {
  const error = coded("EPIPE");
  Object.assign(error, { cause: error });
  t.match(diagnoseTransport(error).sentence, /was cut/);
});
