// SPDX-License-Identifier: Apache-2.0
// Short names for the shapes of the generated schema.

import type { components } from "./schema";

/**
 * A shape without "unknown", the word for what a newer server part means and this version has no word for.
 * It may come all the same: what is chosen by a word needs an answer for any other.
 */
export type Known<T> = T extends string
  ? Exclude<T, "unknown">
  : T extends readonly (infer Each)[]
    ? Known<Each>[]
    : T extends object
      ? { [Key in keyof T]: Known<T[Key]> }
      : T;

type Schemas = Known<components["schemas"]>;

export type Appointment = Schemas["Appointment"];
export type AttendanceRecord = Schemas["AttendanceRecord"];
export type MediaNode = Schemas["Node"];
export type Me = Schemas["Me"];
export type Meeting = Schemas["Meeting"];
export type MeetingCreate = Schemas["MeetingCreate"];
export type MeetingUpdate = Schemas["MeetingUpdate"];
export type Notification = Schemas["Notification"];
export type Party = Schemas["Party"];
export type Recording = Schemas["Recording"];
export type Role = Appointment["role"];
export type Unit = Schemas["Unit"];
