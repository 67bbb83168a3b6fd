// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "vitest";

import { en } from "./en";
import { vi } from "./vi";

type Tree = { [key: string]: string | Tree };

function flatten(tree: Tree, prefix = ""): [string, string][] {
  return Object.entries(tree).flatMap(([key, value]) =>
    typeof value === "string"
      ? [[prefix + key, value] as [string, string]]
      : flatten(value, `${prefix}${key}.`),
  );
}

const placeholders = (text: string) => [...text.matchAll(/\{\{(\w+)\}\}/g)].map((each) => each[1]).sort();
const texts = { vi: new Map(flatten(vi)), en: new Map(flatten(en)) };

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "i18n" ? [] : sources(path);
    return /(?<!\.test)\.tsx?$/.test(entry.name) ? [readFileSync(path, "utf8")] : [];
  });
}

describe("texts", () => {
  it("have the same keys in both languages", () => {
    expect([...texts.en.keys()]).toEqual([...texts.vi.keys()]);
  });

  it("are never empty", () => {
    for (const language of [texts.vi, texts.en]) {
      for (const [key, text] of language) expect(text.trim(), key).not.toBe("");
    }
  });

  it("fill in the same values in both languages", () => {
    for (const [key, text] of texts.vi) {
      expect(placeholders(texts.en.get(key) ?? ""), key).toEqual(placeholders(text));
    }
  });

  it("are all used", () => {
    const code = sources(fileURLToPath(new URL("..", import.meta.url))).join("\n");
    // A key built at run time, such as t(`role.${role}`), counts for everything below its fixed beginning.
    const built = [...code.matchAll(/[`"]([a-z_]+(?:\.[a-z_]+)*)\.\$\{/g)].map((each) => `${each[1]}.`);
    const unused = [...texts.vi.keys()].filter(
      (key) => !code.includes(`"${key}"`) && !built.some((prefix) => key.startsWith(prefix)),
    );
    expect(unused).toEqual([]);
  });
});
