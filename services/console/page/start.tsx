/**
 * The form of one job. One form is one run: it brings the run's id with it, so that pressing twice, a reload and Back are harmless.
 */
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Card, Ending } from "../answers.ts";
import { ask, post, type Problem, Refusal } from "./api.ts";
import { StartForDevelopers } from "./developers.tsx";
import { Durations } from "./durations.tsx";
import { Field, labelOf, type Schema, textOf, valueOf } from "./fields.tsx";
import { Back, Empty, Trouble } from "./frame.tsx";
import { go, here, runUrl } from "./go.ts";
import { keepForm, keptForm, noteTyped } from "./kept-form.ts";
import { Icon, TenMarks } from "./marks.tsx";
import { roughly, wentOf, when } from "./words.ts";

interface Form {
  readonly card: Card;
  readonly parameters: Schema;
  readonly run: string;
  readonly endings: readonly Ending[];
}

export function Start(): JSX.Element {
  const query = here.value.searchParams;
  const name = query.get("definition") ?? "";
  const [form, setForm] = useState<Form>();
  const [trouble, setTrouble] = useState<Problem>();
  useEffect(() => {
    ask<Form>("/v1/definition", { name }).then(
      (found) => setForm({ ...found, run: keptForm()?.run ?? found.run }),
      (error: unknown) => {
        if (error instanceof Refusal) setTrouble(error.problem);
      },
    );
  }, [name]);
  if (trouble !== undefined) return <Trouble problem={trouble} />;
  if (form === undefined) return <></>;
  if (!form.card.mayRun) return <NotYours card={form.card} />;
  if (form.card.isUnusable) return <Unusable card={form.card} />;
  return <Ready key={form.run} form={form} given={query} />;
}

/** Whoever has a link to the form may not have the right to it. */
const NotYours = ({ card: { title, owner } }: { readonly card: Card }): JSX.Element => (
  <Empty mark="padlock" title={title}>
    <p>You may see this job and not run it.{owner !== undefined && <> Ask <Contact owner={owner} />.</>}</p>
    <p><a href="/">To the catalogue</a></p>
  </Empty>
); // biome-ignore format: as it stands on the page

const Unusable = ({ card: { title, owner } }: { readonly card: Card }): JSX.Element => (
  <Empty mark="stalled" title={title}>
    <p>This job cannot be run as it stands in its cluster now.{owner !== undefined && <> Ask <Contact owner={owner} />.</>}</p>
    <p><a href="/">To the catalogue</a></p>
  </Empty>
); // biome-ignore format: as it stands on the page

function Ready({
  form: { card, parameters, run: first, endings },
  given,
}: {
  readonly form: Form;
  readonly given: URLSearchParams;
}): JSX.Element {
  const fields = Object.entries(parameters.properties ?? {});
  const [texts, setTexts] = useState(() =>
    Object.fromEntries(fields.map(([name, it]) => [name, keptForm()?.texts[name] ?? given.get(name) ?? textOf(it, it.default)])),
  );
  const [run, setRun] = useState(first);
  const [problem, setProblem] = useState<Problem>();
  const [isSending, setSending] = useState(false);
  const told = useRef<HTMLDivElement>(null);
  const isUnderWay = useRef(false); // a second click comes before the button has changed
  useEffect(() => told.current?.focus(), [problem]);
  useEffect(() => keepForm({ run, texts }), [run]);
  useEffect(() => noteTyped({ run, texts }), [run, texts]);
  const messageOf = (name: string, message: string): string =>
    texts[name] === "" && parameters.required?.includes(name) === true ? "This is needed." : message;
  const problemAt = (name: string): string | undefined => {
    const found = problem?.problems?.find(({ path }) => path === `/${name}` || path.startsWith(`/${name}/`));
    return found && messageOf(name, found.message);
  };
  const values = Object.fromEntries(fields.flatMap(([name, it]) => { const value = valueOf(it, texts[name] ?? ""); return value === undefined ? [] : [[name, value]]; })); // biome-ignore format: one value
  const send = async (id: string): Promise<void> => {
    if (isUnderWay.current) return;
    isUnderWay.current = true;
    setSending(true);
    keepForm({ run: id, texts });
    setProblem(undefined);
    try {
      await post("/v1/runs", { run: id, definition: card.name, parameters: values });
      go(runUrl(id));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      setProblem(error.problem);
    } finally {
      isUnderWay.current = false;
      setSending(false);
    }
  };
  /** The form was sent before with other values: these are another run, under another id. */
  const sendAnew = async (): Promise<void> => {
    const { run: another } = await ask<Form>("/v1/definition", { name: card.name });
    setRun(another);
    await send(another);
  };
  return (
    <div class="beside">
      <form class="run-form" noValidate onSubmit={(event) => { event.preventDefault(); void send(run); }} onChange={() => keepForm({ run, texts })}>
        <Back to="/">Catalogue</Back>
        <h1>{card.title}</h1>
        {card.description !== undefined && <p class="lead">{card.description}</p>}
        {problem !== undefined && (
          <div class="refused" role="alert" tabIndex={-1} ref={told}>
            <Icon of="alert" />
            <div>
              <b>{problem.title}.</b> {problem.problems === undefined && problem.detail}
              {problem.problems?.map(({ path, message }) => (
                <div key={path}>
                  <a href={`#field-${path.split("/")[1] ?? ""}`} onClick={(event) => { event.preventDefault(); document.getElementById(`field-${path.split("/")[1] ?? ""}`)?.focus(); }}>
                    {labelOf(path.split("/")[1] ?? "", parameters.properties?.[path.split("/")[1] ?? ""] ?? {})}: {messageOf(path.split("/")[1] ?? "", message)}
                  </a>
                </div>
              ))}
              {problem.status === 409 && problem.problems === undefined && <p><button type="button" onClick={() => void sendAnew()}>Run these values as a new run</button></p>}
            </div>
          </div>
        )}
        {fields.map(([name, it]) => (
          <Field key={name} name={name} schema={it} needed={parameters.required?.includes(name) ?? false} text={texts[name] ?? ""} problem={problemAt(name)} set={(text) => setTexts((all) => ({ ...all, [name]: text }))} />
        ))}
        {fields.length === 0 && <p class="about">It needs nothing from you.</p>}
        <div class="acts">
          <button class="primary" type="submit" aria-disabled={isSending}>{isSending ? "Asking" : "Run"}</button>
          <a href="/">Cancel</a>
          <small>One form is one run: pressing twice does no harm.</small>
        </div>
        <StartForDevelopers run={run} definition={card.name} schema={parameters} values={values} />
      </form>
      <aside>
        <h2>How long</h2>
        <p>{card.usualMs === undefined ? "Nobody knows yet." : `Usually ${roughly(card.usualMs)}.`} You may close the page while it runs.</p>
        <h2>Last ten runs</h2>
        <TenMarks marks={card.marks} />
        {card.last?.id !== undefined && <p><a href={runUrl(card.last.id)}>The last one, {when(card.last.askedAtMs, Date.now())}</a></p>}
        {endings.length > 0 && <>
          <h2>How it went</h2>
          <p>{wentOf(card, Date.now())}</p>
          <Durations endings={endings} times={card.times} />
        </>}
        {card.owner !== undefined && <><h2>Questions about this job</h2><p>Ask <Contact owner={card.owner} /></p></>}
      </aside>
    </div>
  ); // biome-ignore format: as it stands on the page
}

/** A contact that is an address can be written to at once. */
export function Contact({ owner: { name, contact } }: { readonly owner: NonNullable<Card["owner"]> }): JSX.Element {
  if (contact === undefined) return <b>{name}</b>;
  if (/^[^\s@]+@[^\s@]+$/.test(contact)) return <a href={`mailto:${contact}`}>{name}</a>;
  return <><b>{name}</b>: {contact}</>; // biome-ignore format: one line
}
