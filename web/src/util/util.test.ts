// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";

import { fold, matches } from "./text";
import {
  formatBytes,
  formatClock,
  formatDateTime,
  formatDay,
  formatLength,
  formatSpan,
  zoneLabel,
} from "./time";

const ZONE = "Asia/Ho_Chi_Minh";

describe("times", () => {
  it("are shown in the meeting's zone, day before month", () => {
    expect(formatDateTime("2026-11-23T18:30:00Z", ZONE)).toBe("01:30, 24/11/2026");
  });

  it("tell planned lengths in hours and minutes", () => {
    expect(formatLength(2700, "vi")).toBe("45 phút");
    expect(formatLength(9000, "vi")).toBe("2 giờ 30 phút");
    expect(formatLength(28_800, "vi")).toBe("8 giờ");
    expect(formatLength(9000, "en")).toBe("2 hr 30 min");
  });

  it("name the weekday in the reader's language", () => {
    expect(formatDay("2026-11-23T01:00:00Z", ZONE, "vi")).toBe("Thứ Hai, 23/11/2026");
    expect(formatDay("2026-11-23T01:00:00Z", ZONE, "en")).toBe("Monday, 23/11/2026");
  });

  it("name the day of the end only when it is another one", () => {
    expect(formatSpan("2026-11-23T01:00:00Z", 5400, ZONE)).toBe("08:00 – 09:30");
    expect(formatSpan("2026-11-23T16:00:00Z", 7200, ZONE)).toBe("23:00 – 01:00 24/11/2026");
  });

  it("run on a clock that never shows a negative", () => {
    expect(formatClock(245)).toBe("4:05");
    expect(formatClock(3723)).toBe("1:02:03");
    expect(formatClock(-3)).toBe("0:00");
  });

  it("say how far a zone is from UTC", () => {
    expect(zoneLabel(ZONE, "2026-11-23T01:00:00Z")).toBe("Hồ Chí Minh (GMT+7)");
  });
});

describe("sizes", () => {
  it("are rounded to what one can read", () => {
    expect(formatBytes(999, "en")).toBe("999 B");
    expect(formatBytes(1_536_000, "vi")).toBe("1,5 MB");
    expect(formatBytes(184_000_000, "en")).toBe("184 MB");
  });
});

describe("search", () => {
  it("needs no diacritics", () => {
    expect(fold("Điểm cầu Bình Tân")).toBe("diem cau binh tan");
    expect(matches("Điểm cầu Bình Tân", "binh TAN")).toBe(true);
    expect(matches("Điểm cầu Bình Tân", "bình tân")).toBe(true);
    expect(matches("Điểm cầu Bình Chánh", "binh tan")).toBe(false);
  });
});
