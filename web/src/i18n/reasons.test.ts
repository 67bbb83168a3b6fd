// SPDX-License-Identifier: Apache-2.0
// The texts for refusals against the pages that the services' own tests hold to their code.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "vitest";

import { vi } from "./vi";

const page = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../../docs/${name}`, import.meta.url)), "utf8");

function section(text: string, heading: string): string {
  const [, after] = text.split(`\n## ${heading}\n`);
  if (after === undefined) throw new Error(`the page has no section "${heading}"`);
  return after.split("\n## ")[0] ?? "";
}

const firstColumn = (table: string) => [...table.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((row) => row[1]);

describe("texts for refusals", () => {
  it("are those of the table of errors, no more and no fewer", () => {
    const reasons = firstColumn(section(page("errors.md"), "Reasons"));
    expect(reasons.length).toBeGreaterThan(50);
    expect(Object.keys(vi.reason).sort()).toEqual(reasons.sort());
  });

  it("are those of the table of fields, no more and no fewer", () => {
    const reasons = firstColumn(section(page("errors.md"), "Reasons of fields"));
    expect(reasons.length).toBeGreaterThan(20);
    expect(Object.keys(vi.field_reason).sort()).toEqual(reasons.sort());
  });

  it("have a short form without values wherever they name any", () => {
    const named = Object.entries(vi.reason).filter(([, words]) => JSON.stringify(words).includes("{{"));
    expect(named.map(([reason]) => reason)).toEqual(Object.keys(vi.reason_short));
  });

  it("tell every way in which a meeting's connection ends", () => {
    const [, codes = ""] = /`ended` codes: (.*?)\. A client/s.exec(page("live-protocol.md")) ?? [];
    const named = [...codes.matchAll(/`([a-z_]+)`/g)].map((each) => each[1]);
    expect(named.length).toBeGreaterThan(10);
    const own = ["title", "left"]; // said by the client itself
    expect(
      Object.keys(vi.ended)
        .filter((key) => !own.includes(key))
        .sort(),
    ).toEqual(named.sort());
  });
});
