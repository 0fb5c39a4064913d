/** Ctrl-C is answered with whether the command was sent. */
import t from "tap";
import { sendingIn } from "./sending.ts";

const stopped = { no: "nothing was sent", perhaps: "it may have been sent" };
const never = new Promise<never>(() => {});

for (const { name, stops, want } of [
  { name: "before it is sent", stops: "before", want: ["nothing was sent"] },
  { name: "while the broker has not answered", stops: "meanwhile", want: ["it may have been sent"] },
  { name: "when it was sent, which the command tells itself", stops: "after", want: [] },
  { name: "never", stops: "never", want: [] },
])
  t.test(`stopped ${name}`, async (t) => {
    const stop = new AbortController();
    const notes: string[] = [];
    {
      using sending = sendingIn({ signal: stop.signal, note: (text) => void notes.push(text) }, stopped);
      if (stops === "before") stop.abort();
      const sent = sending.send(async () => (stops === "meanwhile" ? await never : undefined));
      if (stops === "before") await t.rejects(sent);
      else if (stops !== "meanwhile") await sent;
      if (stops !== "never") stop.abort();
    }
    t.same(notes, want);
  });
