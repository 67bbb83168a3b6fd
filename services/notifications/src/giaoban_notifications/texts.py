# SPDX-License-Identifier: Apache-2.0
"""Owns the words of letters in Vietnamese and English, as an office would write them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from giaoban_notifications.domain import Kind, Locale

_WEEKDAYS = {
    Locale.VI: ("thứ Hai", "thứ Ba", "thứ Tư", "thứ Năm", "thứ Sáu", "thứ Bảy", "Chủ nhật"),
    Locale.EN: ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}


@dataclass(frozen=True, slots=True)
class Phrases:
    """One letter. Fields in braces: {title}, {unit}, {when}."""

    subject: str
    heading: str
    opening: str
    closing: str
    # The line of the inbox below the subject.
    summary: str


@dataclass(frozen=True, slots=True)
class Labels:
    """What stands before each fact."""

    salutation: str
    title: str
    when: str
    length: str
    chair: str
    description: str
    reason: str
    link: str
    regards: str
    footer: str


LABELS = {
    Locale.VI: Labels(
        salutation="Kính gửi: Ông/Bà {name}",
        title="Nội dung",
        when="Thời gian",
        length="Thời lượng",
        chair="Chủ trì",
        description="Ghi chú",
        reason="Lý do",
        link="Mở trang cuộc họp",
        regards="Trân trọng.",
        footer="Thư này do hệ thống họp trực tuyến Giao ban gửi tự động; xin không trả lời thư.",
    ),
    Locale.EN: Labels(
        salutation="Dear {name},",
        title="Subject",
        when="Time",
        length="Duration",
        chair="Chair",
        description="Note",
        reason="Reason",
        link="Open the meeting's page",
        regards="Yours sincerely.",
        footer="This message was sent automatically by the Giaoban meeting system; please do not reply.",
    ),
}

PHRASES = {
    (Locale.VI, Kind.MEETING_INVITED): Phrases(
        subject="Giấy mời họp: {title}",
        heading="GIẤY MỜI HỌP",
        opening="{unit} trân trọng kính mời Ông/Bà tham dự cuộc họp trực tuyến sau đây:",
        closing="Đề nghị Ông/Bà sắp xếp thời gian tham dự đầy đủ, đúng giờ và kiểm tra đường truyền, "
        "âm thanh, hình ảnh trước giờ họp 15 phút.",
        summary="{unit} kính mời Ông/Bà dự họp lúc {when}.",
    ),
    (Locale.VI, Kind.MEETING_CHANGED): Phrases(
        subject="Thay đổi giấy mời họp: {title}",
        heading="THÔNG BÁO THAY ĐỔI CUỘC HỌP",
        opening="{unit} trân trọng thông báo cuộc họp đã mời Ông/Bà được điều chỉnh như sau:",
        closing="Thông báo này thay thế giấy mời đã gửi trước đây.",
        summary="Cuộc họp được điều chỉnh, thời gian: {when}.",
    ),
    (Locale.VI, Kind.MEETING_CANCELLED): Phrases(
        subject="Hủy cuộc họp: {title}",
        heading="THÔNG BÁO HỦY CUỘC HỌP",
        opening="{unit} trân trọng thông báo hủy cuộc họp sau đây:",
        closing="Rất mong Ông/Bà thông cảm.",
        summary="Cuộc họp lúc {when} đã được hủy.",
    ),
    (Locale.VI, Kind.MEETING_WITHDRAWN): Phrases(
        subject="Thôi mời họp: {title}",
        heading="THÔNG BÁO ĐIỀU CHỈNH THÀNH PHẦN DỰ HỌP",
        opening="Do điều chỉnh thành phần dự họp, {unit} xin thông báo Ông/Bà không phải tham dự cuộc họp "
        "sau đây:",
        closing="Rất mong Ông/Bà thông cảm.",
        summary="Thành phần dự họp được điều chỉnh; Ông/Bà không phải dự cuộc họp lúc {when}.",
    ),
    (Locale.VI, Kind.RECORDING_READY): Phrases(
        subject="Bản ghi đã sẵn sàng: {title}",
        heading="BẢN GHI CUỘC HỌP ĐÃ SẴN SÀNG",
        opening="Bản ghi của cuộc họp sau đây đã được xử lý xong và có thể xem lại:",
        closing="Đề nghị Ông/Bà sử dụng bản ghi theo đúng quy chế của cơ quan.",
        summary="Bản ghi của cuộc họp đã có thể xem lại.",
    ),
    (Locale.VI, Kind.RECORDING_FAILED): Phrases(
        subject="Bản ghi chưa xử lý được: {title}",
        heading="BẢN GHI CUỘC HỌP CHƯA XỬ LÝ ĐƯỢC",
        opening="Bản ghi của cuộc họp sau đây chưa xử lý được:",
        closing="Dữ liệu gốc vẫn được lưu giữ; có thể yêu cầu xử lý lại tại trang cuộc họp.",
        summary="Bản ghi chưa xử lý được; dữ liệu gốc vẫn được lưu giữ.",
    ),
    (Locale.EN, Kind.MEETING_INVITED): Phrases(
        subject="Invitation: {title}",
        heading="INVITATION TO A MEETING",
        opening="{unit} invites you to the following online meeting:",
        closing="Please attend on time and check line, sound and picture 15 minutes before the start.",
        summary="{unit} invites you to a meeting at {when}.",
    ),
    (Locale.EN, Kind.MEETING_CHANGED): Phrases(
        subject="Changed: {title}",
        heading="CHANGE OF A MEETING",
        opening="{unit} announces that the meeting you are invited to has changed as follows:",
        closing="This notice replaces the invitation sent before.",
        summary="The meeting has changed; it takes place at {when}.",
    ),
    (Locale.EN, Kind.MEETING_CANCELLED): Phrases(
        subject="Cancelled: {title}",
        heading="CANCELLATION OF A MEETING",
        opening="{unit} announces that the following meeting is cancelled:",
        closing="Thank you for your understanding.",
        summary="The meeting at {when} is cancelled.",
    ),
    (Locale.EN, Kind.MEETING_WITHDRAWN): Phrases(
        subject="Invitation withdrawn: {title}",
        heading="INVITATION WITHDRAWN",
        opening="The list of attendees has changed; {unit} no longer needs you to attend the following meeting:",
        closing="Thank you for your understanding.",
        summary="You no longer need to attend the meeting at {when}.",
    ),
    (Locale.EN, Kind.RECORDING_READY): Phrases(
        subject="Recording ready: {title}",
        heading="THE RECORDING IS READY",
        opening="The recording of the following meeting can be played:",
        closing="Please use it according to your organisation's rules.",
        summary="The recording of the meeting can be played.",
    ),
    (Locale.EN, Kind.RECORDING_FAILED): Phrases(
        subject="Recording not processed: {title}",
        heading="THE RECORDING COULD NOT BE PROCESSED",
        opening="The recording of the following meeting could not be processed:",
        closing="The raw tracks are kept; processing can be asked for again on the meeting's page.",
        summary="The recording could not be processed; the raw tracks are kept.",
    ),
}


def format_when(moment: datetime, zone_name: str, locale: Locale) -> str:
    """A moment (already in the meeting's zone) as people read it: time, weekday, dd/mm/yyyy, zone."""
    weekday = _WEEKDAYS[locale][moment.weekday()]
    offset = moment.strftime("%z")
    zone = f"{zone_name}, UTC{offset[:3]}:{offset[3:]}"
    if locale is Locale.VI:
        return f"{moment:%H} giờ {moment:%M}, {weekday}, ngày {moment:%d/%m/%Y} ({zone})"
    return f"{moment:%H:%M}, {weekday}, {moment:%d/%m/%Y} ({zone})"


def format_length(length: timedelta, locale: Locale) -> str:
    """A length in hours and minutes."""
    hours, minutes = divmod(round(length.total_seconds() / 60), 60)
    if locale is Locale.VI:
        parts = [f"{hours} giờ"] * bool(hours) + [f"{minutes} phút"] * bool(minutes or not hours)
    else:
        parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes or not hours)
    return " ".join(parts)
