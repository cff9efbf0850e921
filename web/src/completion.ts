// What the editor of an exercise has beside: what the function may use, offered while one writes.

import { autocompletion } from "@codemirror/autocomplete";
import type { Completion, CompletionContext } from "@codemirror/autocomplete";
import type { Extension } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import type { Lesson } from "./protocol.js";

export function completion({ accessors, constants }: Lesson): Extension {
  const options: readonly Completion[] = [
    ...accessors.map((label) => ({ label, type: "function" })),
    ...constants.map((label) => ({ label, type: "constant" })),
  ];
  const offer = (context: CompletionContext) => {
    const word = context.matchBefore(/\w+/);
    if (word === null ? !context.explicit : context.matchBefore(/\/\/.*/) !== null) return null;
    return { from: word?.from ?? context.pos, options, validFor: /^\w*$/ };
  };
  return [autocompletion({ override: [offer], icons: false }), theme];
}

const theme = EditorView.theme({
  // The headings are wider than the editor often is: what is wrapped begins behind the slashes.
  ".cm-line": { padding: "0 2px 0 calc(3ch + 6px)", textIndent: "-3ch" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", maxHeight: "12em" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "0.15rem 0.6rem" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
});
