// An editor for WGSL. It is loaded when it is first needed.

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { forEachDiagnostic, lintGutter, nextDiagnostic, setDiagnostics } from "@codemirror/lint";
import type { Diagnostic } from "@codemirror/lint";
import { EditorState, StateField } from "@codemirror/state";
import type { Extension, StateEffect, Text } from "@codemirror/state";
import { Decoration, EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers, tooltips } from "@codemirror/view";
import type { DecorationSet } from "@codemirror/view";
import { tags } from "@lezer/highlight";

/** What the compiler says of a place. */
export interface Complaint {
  readonly line: number;
  /** In UTF-8 bytes, from 1. */
  readonly column: number;
  readonly message: string;
}

/** A file that was opened. */
interface Opened {
  readonly original: string;
  readonly changes: StateField<Changes>;
  state: EditorState;
  /** Scrolls to where it was left. */
  place: StateEffect<unknown>;
}

/** Lines that differ from the original. */
interface Changes {
  readonly count: number;
  readonly marks: DecorationSet;
}

/** What is not the same in every editor. */
export interface Options {
  /** The text cannot be changed: one reads it, and the cursor tells a line. */
  readonly fixed?: boolean;
  /** Calls back when the cursor is in another line. */
  readonly moved?: () => void;
}

export class Editor {
  private readonly view: EditorView;
  private readonly files = new Map<string, Opened>();
  private shown: Opened | null = null;
  private diagnostics: readonly Diagnostic[] = [];

  /** Calls back when the text changes, and when the visitor asks to compile it. */
  constructor(
    host: HTMLElement,
    private readonly changed: () => void,
    private readonly submitted: () => void,
    private readonly options: Options = {},
  ) {
    // The editor makes its own style sheets. The page's policy refuses such elements in the document, and lets
    // a shadow tree adopt them.
    this.view = new EditorView({ parent: host.attachShadow({ mode: "open" }) });
  }

  /** Shows a file: with the edits it had, if it was shown before; else with `text`. */
  open(file: string, original: string, text = original, more: Extension = []): void {
    if (this.shown !== null) Object.assign(this.shown, { state: this.view.state, place: this.view.scrollSnapshot() });
    let opened = this.files.get(file);
    if (opened === undefined) {
      const changes = changesFrom(original);
      const state = EditorState.create({ doc: text, extensions: [changes, more, this.extensions(file)] });
      opened = { original, changes, state, place: EditorView.scrollIntoView(0) };
      this.files.set(file, opened);
    }
    this.shown = opened;
    this.view.setState(opened.state);
    this.view.dispatch({ effects: opened.place });
  }

  get text(): string {
    return this.view.state.doc.toString();
  }

  /** The line of the cursor, from 1. */
  get line(): number {
    const { doc, selection } = this.view.state;
    return doc.lineAt(selection.main.head).number;
  }

  /** Lines that differ from the original. */
  get count(): number {
    return this.shown === null ? 0 : this.view.state.field(this.shown.changes).count;
  }

  /** The files that are not as they were. */
  get edited(): string[] {
    const text = (opened: Opened) => (opened === this.shown ? this.view.state : opened.state).doc.toString();
    return [...this.files].filter(([, opened]) => text(opened) !== opened.original).map(([file]) => file);
  }

  /** Puts other text into the file, as one change that can be undone, and the cursor at a place. */
  put(text: string, at?: number): void {
    this.view.dispatch({
      changes: replaced(this.text, text),
      ...(at === undefined ? {} : { selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) }),
      userEvent: "input.replace",
    });
  }

  /** The same in a file that may not be the one that is shown. One that was never shown has no text yet. */
  putInto(file: string, text: string): void {
    const opened = this.files.get(file);
    if (opened === this.shown) this.put(text);
    else if (opened !== undefined) opened.state = opened.state.update({ changes: replaced(opened.state.doc.toString(), text) }).state;
  }

  restore(): void {
    if (this.shown !== null) this.put(this.shown.original);
  }

  focus(): void {
    this.view.focus();
  }

  /** Marks what the compiler says, and shows the first of it; none to take the marks away. */
  mark(complaints: readonly Complaint[]): void {
    const { doc } = this.view.state;
    this.diagnostics = complaints.map(({ line, column, message }) => {
      const { from, text } = doc.line(Math.min(Math.max(line, 1), doc.lines));
      const at = units(text, column - 1);
      const length = /^(?:\w+|.)/u.exec(text.slice(at))?.[0].length ?? 0;
      return { from: from + at, to: from + at + length, severity: "error", message };
    });
    this.view.dispatch(setDiagnostics(this.view.state, this.diagnostics));
    const first = this.diagnostics[0];
    if (first !== undefined) this.view.dispatch({ effects: EditorView.scrollIntoView(first.from) });
  }

  /** Puts the cursor at a marked place, which has moved with the text around it. */
  goTo(index: number): void {
    let place: number | undefined;
    forEachDiagnostic(this.view.state, (diagnostic, from) => {
      if (diagnostic === this.diagnostics[index]) place = from;
    });
    this.view.focus();
    // What was marked is deleted.
    if (place === undefined) return;
    this.view.dispatch({ selection: { anchor: place }, effects: EditorView.scrollIntoView(place, { y: "center" }) });
  }

  /** Puts the cursor into a line, from 1. */
  show(line: number): void {
    const { doc } = this.view.state;
    const { from } = doc.line(Math.min(Math.max(line, 1), doc.lines));
    this.view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: "center" }) });
  }

  private extensions(file: string): Extension {
    const submit = () => {
      this.submitted();
      return true;
    };
    return [
      lineNumbers(),
      lintGutter(),
      history(),
      drawSelection(),
      highlightActiveLine(),
      EditorView.lineWrapping,
      // Tab is not bound: it leaves the editor, as it leaves everything else on the page.
      keymap.of([
        { key: "Mod-Enter", run: submit },
        { key: "Ctrl-Enter", run: submit },
        { key: "F8", run: nextDiagnostic },
        ...defaultKeymap,
        ...historyKeymap,
      ]),
      wgsl,
      syntaxHighlighting(colours),
      theme,
      // The panel around the editor is the box that fixed positions refer to.
      tooltips({ position: "absolute" }),
      EditorView.contentAttributes.of({ "aria-label": `WGSL of ${file}` }),
      EditorView.updateListener.of(({ docChanged, selectionSet }) => {
        if (docChanged) this.changed();
        if (docChanged || selectionSet) this.options.moved?.();
      }),
      // The cursor moves in it all the same; on a touch screen no keyboard comes up.
      this.options.fixed ? [EditorView.editorAttributes.of({ class: "cm-fixed" }), EditorState.readOnly.of(true), EditorView.contentAttributes.of({ "aria-readonly": "true", inputmode: "none" })] : [],
    ];
  }
}

/** Only what differs between two texts, so that cursor and view stay where they are. */
function replaced(now: string, text: string): { from: number; to: number; insert: string } {
  let from = 0;
  while (from < now.length && now[from] === text[from]) from++;
  let end = 0;
  while (end < Math.min(now.length, text.length) - from && now[now.length - 1 - end] === text[text.length - 1 - end]) end++;
  return { from, to: now.length - end, insert: text.slice(from, text.length - end) };
}

/** UTF-16 units of the first bytes of a line in UTF-8. */
function units(text: string, bytes: number): number {
  let at = 0;
  for (const character of text) {
    bytes -= new TextEncoder().encode(character).length;
    if (bytes < 0) break;
    at += character.length;
  }
  return at;
}

/** Keeps count of the lines that differ, and marks them. */
function changesFrom(original: string): StateField<Changes> {
  const before = original.split("\n");
  const line = Decoration.line({ class: "cm-edited" });
  const compare = (doc: Text): Changes => {
    const { count, others } = differing(before, doc.toString().split("\n"));
    return { count, marks: Decoration.set(others.map((number) => line.range(doc.line(number + 1).from))) };
  };
  return StateField.define<Changes>({
    create: ({ doc }) => compare(doc),
    update: (known, { docChanged, newDoc }) => (docChanged ? compare(newDoc) : known),
    provide: (field) => EditorView.decorations.from(field, ({ marks }) => marks),
  });
}

/** Longest piece that is compared line by line: it takes the square of it. */
const COMPARED = 1000;

/** How many lines differ, and which of the new ones. Lines that were replaced by others count once. */
function differing(before: readonly string[], after: readonly string[]): { count: number; others: number[] } {
  let from = 0;
  while (from < before.length && from < after.length && before[from] === after[from]) from++;
  let end = 0;
  const shorter = Math.min(before.length, after.length) - from;
  while (end < shorter && before[before.length - 1 - end] === after[after.length - 1 - end]) end++;
  const [a, b] = [before.slice(from, before.length - end), after.slice(from, after.length - end)];
  if (Math.max(a.length, b.length) > COMPARED) {
    return { count: Math.max(a.length, b.length), others: b.map((_, i) => from + i) };
  }
  // The longest common sequence of lines is what they share.
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  const at = (i: number, j: number) => common[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const others: number[] = [];
  let [count, removed, added] = [0, 0, 0];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      count += Math.max(removed, added);
      removed = added = 0;
      i++;
      j++;
    } else if (j === b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) {
      removed++;
      i++;
    } else {
      others.push(from + j);
      added++;
      j++;
    }
  }
  return { count: count + Math.max(removed, added), others };
}

const KEYWORDS =
  /^(?:alias|break|case|const|const_assert|continue|continuing|default|diagnostic|discard|else|enable|fn|for|if|let|loop|override|requires|return|struct|switch|var|while)$/;
const TYPES =
  /^(?:array|atomic|bool|f16|f32|i32|u32|vec[234][fhiu]?|mat[234]x[234][fh]?|ptr|sampler\w*|texture_\w+|function|private|workgroup|uniform|storage|read|write|read_write)$/;

/** Colours words as far as single words tell what they are. */
const wgsl = StreamLanguage.define<{ comments: number }>({
  name: "wgsl",
  startState: () => ({ comments: 0 }),
  token(stream, state) {
    // Comments of this kind lie in one another.
    if (state.comments > 0 || stream.match("/*", false)) {
      do {
        if (stream.match("/*")) state.comments++;
        else if (stream.match("*/")) state.comments--;
        else stream.next();
      } while (state.comments > 0 && !stream.eol());
      return "comment";
    }
    if (stream.eatSpace()) return null;
    if (stream.match("//")) {
      stream.skipToEnd();
      return "comment";
    }
    if (stream.match(/^@\s*\w+/)) return "meta";
    if (stream.match(/^(?:0[xX][\da-fA-F.]+(?:[pP][+-]?\d+)?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fhiu]?/)) return "number";
    if (stream.match(/^\w+/)) {
      const word = stream.current();
      if (KEYWORDS.test(word)) return "keyword";
      if (TYPES.test(word)) return "typeName";
      return word === "true" || word === "false" ? "number" : null;
    }
    stream.next();
    return null;
  },
  languageData: { commentTokens: { line: "//", block: { open: "/*", close: "*/" } } },
});

const colours = HighlightStyle.define([
  { tag: tags.comment, color: "var(--code-comment)" },
  { tag: tags.keyword, color: "var(--code-keyword)" },
  { tag: tags.typeName, color: "var(--code-type)" },
  { tag: tags.number, color: "var(--code-number)" },
  { tag: tags.meta, color: "var(--code-attribute)" },
]);

/** The page's colours, which follow its theme by themselves. */
const theme = EditorView.theme({
  "&": {
    maxHeight: "min(65vh, 34rem)",
    border: "1px solid var(--edge)",
    borderRadius: "6px",
    backgroundColor: "var(--panel)",
    color: "var(--text)",
  },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "1px" },
  ".cm-scroller": { font: "0.93em/1.5 var(--mono)", overflow: "auto", overscrollBehavior: "contain", borderRadius: "5px" },
  ".cm-content": { padding: "0.3rem 0", caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)", borderLeftWidth: "2px" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    backgroundColor: "var(--code-selected)",
  },
  // Transparent, because the selection is drawn below the lines.
  ".cm-activeLine": { backgroundColor: "transparent" },
  // In a text that is only read, the cursor's line is what is chosen.
  "&.cm-focused .cm-activeLine, &.cm-fixed .cm-activeLine": { boxShadow: "inset 0 -1px var(--line), inset 0 1px var(--line)" },
  ".cm-edited, &.cm-focused .cm-activeLine.cm-edited": { boxShadow: "inset 3px 0 var(--accent)" },
  ".cm-gutters": { backgroundColor: "var(--page)", color: "var(--soft)", borderRight: "1px solid var(--line)" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "2.2em", padding: "0 0.4em 0 0" },
  ".cm-gutter-lint": { width: "1.2em" },
  ".cm-lint-marker-error": {
    width: "0.7em",
    height: "0.7em",
    borderRadius: "50%",
    content: "''",
    backgroundColor: "var(--wrong)",
    forcedColorAdjust: "none",
  },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--wrong) 1.5px", textUnderlineOffset: "3px" },
  ".cm-lintPoint-error::after": { borderBottomColor: "var(--wrong)" },
  ".cm-tooltip": {
    maxWidth: "min(40rem, 90vw)",
    border: "1px solid var(--edge)",
    borderRadius: "5px",
    backgroundColor: "var(--panel)",
    color: "var(--text)",
  },
  ".cm-diagnostic-error": { borderLeftColor: "var(--wrong)", overflowWrap: "anywhere" },
});
