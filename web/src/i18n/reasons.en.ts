// SPDX-License-Identifier: Apache-2.0
// English texts for refusals, key for key beside reasons.vi.ts.

import { fieldsEn } from "./fields.en";
import type { reasonsVi } from "./reasons.vi";

export const reasonsEn: typeof reasonsVi = {
  reason: {
    ADMISSION_DECIDED: {
      title: "Somebody else has already decided on this request.",
      remedy: "Look at the waiting list again; the first decision stands.",
    },
    ADMISSION_NOT_FOUND: {
      title: "This person is no longer waiting to come in.",
      remedy: "Look at the waiting list again.",
    },
    ADMISSION_REFUSED: {
      title: "Your request to come in was not accepted.",
      remedy: "Ask the chair or the secretary if you need to attend.",
    },
    ADMIT_FORBIDDEN: {
      title: "Only chair and secretary admit people.",
      remedy: "Ask the chair or the secretary to decide.",
    },
    ALREADY_EXISTS: {
      title: "This exists already.",
      remedy: "Reload the page to see what is there.",
    },
    ATTENDANCE_FORBIDDEN: {
      title: "You may not see this meeting's roll call.",
      remedy:
        "Only chair, secretary, operator and those responsible for the unit see it. Ask the meeting's secretary.",
    },
    BODY_INVALID: {
      title: "The server could not read what was sent.",
      remedy: "Reload the page and try again; if it stays, tell your technical staff.",
    },
    BODY_TOO_LARGE: {
      title: "What was sent is too large.",
      remedy: "Shorten it and send it again.",
    },
    BUCKET_NOT_FOUND: {
      title: "The system is not ready.",
      remedy: "Wait a moment and try again; if it stays, tell your technical staff.",
    },
    CALLER_FORBIDDEN: {
      title: "A part of the system refused the request.",
      remedy: "Ask your technical staff to check the configuration.",
    },
    CALLER_UNKNOWN: {
      title: "A part of the system refused the request.",
      remedy: "Ask your technical staff to check the configuration.",
    },
    COMMAND_FORBIDDEN: {
      title: "Your role in the meeting does not permit this.",
      remedy: "Ask the chair, the secretary or the operator to do it.",
    },
    COMMAND_INVALID: {
      title: "This cannot be done now.",
      remedy: "Check what you chose and try again.",
    },
    COMPOSE_FAILED: {
      title: "The recording could not be composed.",
      remedy: "The raw data is still there. Press “Compose again”; if it stays, tell your technical staff.",
    },
    CONFLICT: {
      title: "Somebody else has just changed this.",
      remedy: "Reload to see the newest version, then try again.",
    },
    CONVENE_FORBIDDEN: {
      title: "You may not convene meetings for this unit.",
      remedy: "Choose a unit that you may convene for.",
    },
    DEADLINE_EXCEEDED: {
      title: "The server took too long.",
      remedy: "Wait a moment and try again.",
    },
    DIRECTORY_ENTRY_INVALID: {
      title: "An entry of the directory is not valid.",
      remedy: "Correct the entries named and import again.",
    },
    EDIT_FORBIDDEN: {
      title: "You may not change or cancel this meeting.",
      remedy: "Ask the chair, a secretary or a convener of the unit to do it.",
    },
    END_FORBIDDEN: {
      title: "You may not end this meeting.",
      remedy: "Only chair and secretary end a meeting.",
    },
    EVENT_UNUSABLE: {
      title: "A notification could not be sent.",
      remedy: "Tell your technical staff.",
    },
    FLOOR_FULL: {
      title: "No more can have the floor at once.",
      remedy: "Take the floor from somebody first.",
    },
    FLOOR_QUEUE_FULL: {
      title: "The list of raised hands is full.",
      remedy: "Raise your hand again when some have spoken.",
    },
    FORBIDDEN: {
      title: "You are not permitted to do this.",
      remedy: "Ask your unit's administrator if you need this right.",
    },
    GRANT_INVALID: {
      title: "The permission to come in no longer holds.",
      remedy: "Join the meeting again.",
    },
    IDEMPOTENCY_KEY_REUSED: {
      title: "This meeting was already created with other content.",
      remedy: "Find it in the list of meetings and edit it there.",
    },
    IF_MATCH_REQUIRED: {
      title: "It is not clear which version of the meeting was edited.",
      remedy: "Reload the page and edit again.",
    },
    INTERNAL: {
      title: "The server failed.",
      remedy: "Try again later; if it stays, tell your technical staff the trace code.",
    },
    INVALID_ARGUMENT: {
      title: "The request is not valid.",
      remedy: "Correct the fields named and try again.",
    },
    INVALID_CREDENTIALS: {
      title: "Organisation code, user name or password is wrong.",
      remedy:
        "Check your Vietnamese input method and Caps Lock, then try again. Forgotten password: ask your unit's administrator.",
    },
    JOIN_EXPECTED: {
      title: "The connection to the room did not begin as it should.",
      remedy: "Reload the page and join again.",
    },
    KEY_FILE_MISMATCH: {
      title: "The system's key does not fit.",
      remedy: "Ask your technical staff to check the configuration.",
    },
    LIVE_STATE_BUSY: {
      title: "Too much is changing in the meeting at once.",
      remedy: "Try again right away.",
    },
    MEDIA_LOST: {
      title: "Picture and sound are interrupted.",
      remedy: "They come back by themselves. Wait a few seconds and try again.",
    },
    MEDIA_TYPE_WRONG: {
      title: "The server does not take data of this type.",
      remedy: "Reload the page and try again; if it stays, tell your technical staff.",
    },
    MEETING_CANCELLED: {
      title: "The meeting was cancelled.",
      remedy: "See the list of meetings for a new date.",
    },
    MEETING_CHANGED: {
      title: "Somebody else has just changed this meeting.",
      remedy: "Reload to see the newest version; what you typed stays on the screen.",
    },
    MEETING_ENDED: {
      title: "The meeting has ended.",
      remedy: "Roll call and recordings are on the meeting's page.",
    },
    MEETING_INVALID: {
      title: "Something about the meeting is not valid.",
      remedy: "Correct the fields named and save again.",
    },
    MEETING_NOT_FOUND: {
      title: "This was not found, or you may not see it.",
      remedy: "Check the address in the invitation, or ask the convening unit.",
    },
    MEETING_NOT_OPEN: {
      title: "The meeting is not open yet.",
      remedy: "Come back from {{opens_at}}.",
    },
    MEETING_NOT_RUNNING: {
      title: "The meeting is not running.",
      remedy: "This works only while it is held. A meeting that has not begun can be cancelled.",
    },
    MEETING_RUNNING: {
      title: "The meeting is running and cannot be cancelled.",
      remedy: "To stop it, end the meeting in its room.",
    },
    METHOD_NOT_ALLOWED: {
      title: "The server does not take this request.",
      remedy: "Reload the page and try again; if it stays, tell your technical staff.",
    },
    NOTIFICATION_NOT_FOUND: {
      title: "This notification is gone.",
      remedy: "Reload the list of notifications.",
    },
    NOT_FOUND: {
      title: "This was not found, or you may not see it.",
      remedy: "Check the address.",
    },
    NOT_READY: {
      title: "The system is not ready.",
      remedy: "Wait a moment and try again.",
    },
    NOT_SIGNED_IN: {
      title: "You are not signed in.",
      remedy: "Please sign in.",
    },
    NO_FLOOR: {
      title: "You do not have the floor.",
      remedy: "Press “Raise hand” and wait until the chair calls you.",
    },
    MEDIA_CAPACITY: {
      title: "The media servers are full at the moment.",
      remedy: "Stay on this page: you come in by yourself as soon as there is room.",
    },
    NO_MEDIA_NODE: {
      title: "No media server can take the meeting now.",
      remedy: "Wait a moment and try again; if it stays, tell your technical staff.",
    },
    OFFER_INVALID: {
      title: "Browser and server could not agree on picture and sound.",
      remedy: "Reload the page and join again; if it stays, use a recent Chrome, Edge or Firefox.",
    },
    ORIGIN_FORBIDDEN: {
      title: "The request does not come from a page of this system.",
      remedy: "Open the system at your office's official address and try again.",
    },
    PARTICIPANT_LIMIT_REACHED: {
      title: "The meeting is full: {{limit}} participants.",
      remedy: "Attend at a site that takes part, or ask the organisers.",
    },
    PARTICIPANT_NOT_FOUND: {
      title: "This person or site is no longer in the meeting.",
      remedy: "Look at the list of sites again.",
    },
    PARTICIPANT_REMOVED: {
      title: "The chair has removed you from the meeting.",
      remedy: "Ask the chair or the secretary if this was a mistake.",
    },
    PATH_NOT_FOUND: {
      title: "There is nothing at this address.",
      remedy: "Check the address.",
    },
    PRECONDITION_FAILED: {
      title: "This cannot be done now.",
      remedy: "Reload the page to see how things stand.",
    },
    RANGE_INVALID: {
      title: "This part lies outside the recording.",
      remedy: "Reload the page and play again.",
    },
    RATE_LIMITED: {
      title: "Too many requests in a short time.",
      remedy: "Wait a moment and try again.",
    },
    RECORDING_IN_PROGRESS: {
      title: "The meeting is being recorded.",
      remedy: "Stop this recording before you start another.",
    },
    RECORDING_NOT_FAILED: {
      title: "This recording did not fail and need not be composed again.",
      remedy: "Reload the page to see its state.",
    },
    RECORDING_NOT_FOUND: {
      title: "This recording was not found, or you may not see it.",
      remedy: "Ask the meeting's secretary, or see the list of recordings.",
    },
    RECORDING_NOT_READY: {
      title: "The recording is not composed yet.",
      remedy: "Wait until it is; this page follows by itself.",
    },
    RECORDING_RUNNING: {
      title: "The meeting is being recorded already.",
      remedy: "No need to press again; REC at the top of the screen says so.",
    },
    RECORD_FORBIDDEN: {
      title: "You may not record this meeting.",
      remedy: "Only chair, secretary and operator record.",
    },
    REFRESH_TOKEN_INVALID: {
      title: "Your session has expired.",
      remedy: "Please sign in again.",
    },
    REFRESH_TOKEN_REUSED: {
      title: "Your session was closed to protect the account.",
      remedy: "Please sign in again; if it happens again, change your password and tell your administrator.",
    },
    REPLACED: {
      title: "You have joined this meeting on another device or in another window.",
      remedy: "Go on in the other window, or join again here.",
    },
    REQUEST_INVALID: {
      title: "Something is not valid.",
      remedy: "Correct the fields named and try again.",
    },
    REQUEST_REFUSED: {
      title: "The server does not take this request.",
      remedy: "Reload the page and try again; if it stays, tell your technical staff.",
    },
    RESOURCE_EXHAUSTED: {
      title: "A limit of the system is reached.",
      remedy: "Wait a moment and try again.",
    },
    REVISION_CONFLICT: {
      title: "Somebody else has just changed this.",
      remedy: "Try again.",
    },
    ROOM_NOT_FOUND: {
      title: "The room is not open yet.",
      remedy: "Try again when the first participant is in.",
    },
    SCREEN_TAKEN: {
      title: "Somebody else is sharing a screen.",
      remedy: "Ask them to stop first.",
    },
    SIGN_IN_BUSY: {
      title: "Very many people are signing in right now.",
      remedy: "Wait a few seconds and try again.",
    },
    SIGN_IN_LOCKED: {
      title: "The account is locked for a while after several wrong attempts.",
      remedy: "Wait and try again, or ask your unit's administrator.",
    },
    SITE_BOOKED: {
      title: "{{site_name}} is in another meeting from {{start_time}} to {{end_time}}.",
      remedy: "Choose another time or leave that site out.",
    },
    STOPPING: {
      title: "The server is restarting.",
      remedy: "Try again right away.",
    },
    TICKET_INVALID: {
      title: "The ticket was used or has expired.",
      remedy: "Reload the page and try again.",
    },
    TOKEN_EXPIRED: {
      title: "Your session has expired.",
      remedy: "Please sign in again.",
    },
    TOKEN_INVALID: {
      title: "Your session is no longer valid.",
      remedy: "Please sign in again.",
    },
    TOKEN_MISSING: {
      title: "You are not signed in.",
      remedy: "Please sign in.",
    },
    TRACK_DAMAGED: {
      title: "A participant's recorded data is damaged in storage.",
      remedy: "Ask your technical staff to check the storage.",
    },
    UNAUTHENTICATED: {
      title: "Your session has expired.",
      remedy: "Please sign in again.",
    },
    UNAVAILABLE: {
      title: "The server is busy.",
      remedy: "Wait a moment and try again.",
    },
    UNIT_NOT_FOUND: {
      title: "There is no such unit in your organisation.",
      remedy: "Choose another unit.",
    },
    USER_NOT_FOUND: {
      title: "There is no such person in your organisation.",
      remedy: "Choose somebody else.",
    },
    WAITING_LIMIT_REACHED: {
      title: "{{limit}} people are already waiting to come in.",
      remedy: "Try again in a few minutes.",
    },
  },
  reason_short: {
    MEETING_NOT_OPEN: { title: "The meeting is not open yet.", remedy: "Come back close to its start." },
    PARTICIPANT_LIMIT_REACHED: {
      title: "The meeting is full.",
      remedy: "Attend at a site that takes part, or ask the organisers.",
    },
    SITE_BOOKED: {
      title: "A site is invited to another meeting at that time.",
      remedy: "Choose another time or leave that site out.",
    },
    WAITING_LIMIT_REACHED: {
      title: "Too many people are waiting to come in.",
      remedy: "Try again in a few minutes.",
    },
  },
  ...fieldsEn,
  ended: {
    title: "You are out of the meeting",
    left: "You have left the meeting.",
    meeting_ended: "The meeting has ended.",
    removed: "The chair has removed you from the meeting.",
    replaced: "You have joined this meeting on another device or in another window.",
    refused: "Your request to come in was refused.",
    meeting_not_found: "This meeting was not found.",
    meeting_not_open: "The meeting is not open yet or has ended.",
    ticket_invalid: "The ticket has expired. Please join again.",
    join_expected: "The connection went wrong. Please join again.",
    message_invalid: "The connection went wrong. Please reload the page and join again.",
    rate_limited: "Too many requests in a short time. Wait a moment, then join again.",
    media_capacity: "The media servers are full at the moment.",
    no_media_node: "No media server can take this meeting at the moment.",
    participant_limit: "The meeting is full.",
    appointment_changed: "Your part in this meeting has been changed. Joining again…",
    server_stopping: "The server is restarting.",
    internal: "The server failed. Please join again.",
  },
};
