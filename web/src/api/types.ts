// SPDX-License-Identifier: Apache-2.0
// Short names for the shapes of the generated schema.

import type { components } from "./schema";

type Schemas = components["schemas"];

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
