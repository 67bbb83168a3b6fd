// SPDX-License-Identifier: Apache-2.0
// Times as people read them: day/month/year, in the meeting's zone.

import { DateTime } from "luxon";

const VIETNAM = "Asia/Ho_Chi_Minh";

export function formatDate(iso: string, zone: string): string {
  return inZone(iso, zone).toFormat("dd/MM/yyyy");
}

export function formatTime(iso: string, zone: string): string {
  return inZone(iso, zone).toFormat("HH:mm");
}

/** A dash when the moment is not known. */
export function formatDateTime(iso: string | null, zone: string): string {
  return iso === null ? "–" : inZone(iso, zone).toFormat("HH:mm, dd/MM/yyyy");
}

/** "08:00 – 09:30", with the day of the end when it is another one. */
export function formatSpan(iso: string, durationSeconds: number, zone: string): string {
  const start = inZone(iso, zone);
  const end = start.plus({ seconds: durationSeconds });
  const format = end.hasSame(start, "day") ? "HH:mm" : "HH:mm dd/MM/yyyy";
  return `${start.toFormat("HH:mm")} – ${end.toFormat(format)}`;
}

/** Weekday in words and the date, such as "Thứ Hai, 23/11/2026". */
export function formatDay(iso: string, zone: string, locale: string): string {
  const day = inZone(iso, zone).setLocale(locale);
  const weekday = day.toFormat("cccc");
  return `${weekday.charAt(0).toUpperCase()}${weekday.slice(1)}, ${day.toFormat("dd/MM/yyyy")}`;
}

/** A length of time on a clock: "4:05", "1:02:03". Never negative: clocks differ a little. */
export function formatClock(seconds: number): string {
  const total = Math.max(0, Math.floor(seconds));
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(total / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(total % 60)}` : `${minutes}:${two(total % 60)}`;
}

/** A planned length in words: "45 phút", "2 giờ 30 phút", "8 hr". */
export function formatLength(seconds: number, locale: string): string {
  const minutes = Math.round(seconds / 60);
  const inWords = (value: number, unit: "hour" | "minute") =>
    new Intl.NumberFormat(locale, {
      style: "unit",
      unit,
      unitDisplay: locale === "vi" ? "long" : "short",
    }).format(value);
  const hours = Math.floor(minutes / 60);
  const rest = minutes % 60;
  if (hours === 0) return inWords(minutes, "minute");
  return rest === 0 ? inWords(hours, "hour") : `${inWords(hours, "hour")} ${inWords(rest, "minute")}`;
}

export function formatBytes(bytes: number, locale: string): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toLocaleString(locale, { maximumFractionDigits: digits })} ${units[unit] ?? ""}`;
}

/** The zone's offset at that moment, such as "GMT+7", with its city. */
export function zoneLabel(zone: string, iso: string): string {
  const city = zone === VIETNAM ? "Hồ Chí Minh" : (zone.split("/").pop()?.replaceAll("_", " ") ?? zone);
  return `${city} (${inZone(iso, zone).toFormat("'GMT'Z")})`;
}

/** The zone of this device. Browsers still give Vietnam its name of before 1994 in the IANA database. */
export function browserZone(): string {
  const zone = DateTime.local().zoneName;
  return zone === "Asia/Saigon" ? VIETNAM : zone;
}

export function inZone(iso: string, zone: string): DateTime {
  return DateTime.fromISO(iso, { zone });
}
