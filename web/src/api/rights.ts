// SPDX-License-Identifier: Apache-2.0
// What to offer a person. Only a courtesy: the server decides.

import type { Me, Meeting, Unit } from "./types";

type Permission = Me["permissions"][number]["permissions"][number];

export function may(me: Me, permission: Permission): boolean {
  return me.permissions.some((each) => each.permissions.includes(permission));
}

/** Permissions are inherited downwards in the unit tree. */
export function mayIn(me: Me, permission: Permission, unitId: string, units: readonly Unit[]): boolean {
  const parents = new Map(units.map((each) => [each.id, each.parent_id]));
  for (let id: string | null | undefined = unitId; id; id = parents.get(id)) {
    const here = id;
    if (me.permissions.some((each) => each.unit_id === here && each.permissions.includes(permission)))
      return true;
  }
  return false;
}

export function mayEdit(me: Me, meeting: Meeting, units: readonly Unit[]): boolean {
  if (meeting.status !== "scheduled") return false;
  return (
    meeting.my_role === "chair" ||
    meeting.my_role === "secretary" ||
    meeting.created_by === me.user?.id ||
    mayIn(me, "convene", meeting.unit_id, units)
  );
}
