# SPDX-License-Identifier: Apache-2.0
"""Owns the three demo organisations: units, sites, users and roles. Places are real, people are invented."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from giaoban.identity.v1 import identity_pb2 as pb
from giaoban.identity.v1.identity_service_pb2 import ImportDirectoryRequest

PASSWORD = "giaoban-demo-2026"  # noqa: S105 - known to everybody, for the local stack alone

DISTRICTS = (
    *(f"Quận {number}" for number in range(1, 13)),
    *("Quận Bình Tân", "Quận Bình Thạnh", "Quận Gò Vấp", "Quận Phú Nhuận", "Quận Tân Bình", "Quận Tân Phú"),
    *("Quận Thủ Đức", "Huyện Bình Chánh", "Huyện Cần Giờ", "Huyện Củ Chi", "Huyện Hóc Môn", "Huyện Nhà Bè"),
)
DEPARTMENTS = (
    "Sở Công Thương",
    "Sở Du lịch",
    "Sở Giao thông vận tải",
    "Sở Giáo dục và Đào tạo",
    "Sở Kế hoạch và Đầu tư",
    "Sở Khoa học và Công nghệ",
    "Sở Lao động - Thương binh và Xã hội",
    "Sở Ngoại vụ",
    "Sở Nội vụ",
    "Sở Nông nghiệp và Phát triển nông thôn",
    "Sở Quy hoạch - Kiến trúc",
    "Sở Tài chính",
    "Sở Tài nguyên và Môi trường",
    "Sở Thông tin và Truyền thông",
    "Sở Tư pháp",
    "Sở Văn hóa và Thể thao",
    "Sở Xây dựng",
    "Sở Y tế",
    "Ban Quản lý Khu công nghệ cao",
    "Ban Dân tộc",
    "Thanh tra Thành phố",
)
WARDS = {
    "Quận Bình Tân": ("Phường An Lạc", "Phường Bình Hưng Hòa", "Phường Tân Tạo"),
    "Huyện Củ Chi": ("Xã Phước Hiệp", "Xã Tân Thông Hội", "Thị trấn Củ Chi"),
    "Huyện Nhà Bè": ("Xã Hiệp Phước", "Xã Phước Kiển", "Thị trấn Nhà Bè"),
}
MOBILE_SITES = 10

_FAMILY = ("Nguyễn", "Trần", "Lê", "Phạm", "Huỳnh", "Võ", "Đặng", "Bùi", "Đỗ", "Hồ", "Ngô", "Dương")
_MIDDLE = ("Văn", "Thị", "Minh", "Thanh", "Quốc", "Ngọc", "Hữu", "Kim")
_GIVEN = ("An", "Bình", "Châu", "Dũng", "Hà", "Hương", "Khánh", "Lan", "Long", "Mai", "Nam", "Phúc", "Sơn")


@dataclass(frozen=True)
class Account:
    """A demo account that is told to whoever starts the stack."""

    organisation: str
    username: str
    who: str


@dataclass
class Directory:
    """One organisation under construction; `request` is what identity takes."""

    code: str
    name: str
    units: list[tuple[str, str, str]] = field(default_factory=list)
    sites: list[tuple[str, str, str, bool]] = field(default_factory=list)
    users: list[pb.User] = field(default_factory=list)
    roles: dict[str, list[tuple[str, pb.Role.ValueType]]] = field(default_factory=dict)
    unit_of: dict[str, str] = field(default_factory=dict)
    accounts: list[Account] = field(default_factory=list)

    def unit(self, name: str, parent: str = "", code: str | None = None) -> str:
        """Adds a unit below `parent` (its code); returns its code."""
        made = code or slug(name)
        self.units.append((made, parent, name))
        return made

    def site(self, name: str, unit: str, code: str, *, mobile: bool = False) -> None:
        """Adds a site of a unit."""
        self.sites.append((code, unit, name, mobile))

    def user(
        self,
        username: str,
        name: str,
        office: str,
        unit: str,
        *roles: tuple[str, pb.Role.ValueType],
        told: str = "",
        english: bool = False,
    ) -> None:
        """Adds a user; `told` says who they are where the accounts are printed."""
        locale = pb.LOCALE_EN if english else pb.LOCALE_VI
        email = f"{username}@{self.code}.example"
        self.users.append(
            pb.User(username=username, display_name=name, office=office, email=email, locale=locale)
        )
        self.unit_of[username] = unit
        self.roles[username] = [(unit, pb.ROLE_MEMBER), *roles]
        if told:
            self.accounts.append(Account(self.code, username, told))

    def request(self, device_keys: Mapping[str, str]) -> ImportDirectoryRequest:
        """What identity imports; `device_keys` by site code."""
        made = ImportDirectoryRequest(
            organisation=pb.Organisation(code=self.code, name=self.name, time_zone="Asia/Ho_Chi_Minh")
        )
        for code, parent, name in self.units:
            made.units.add(code=code, parent_code=parent, name=name)
        for code, unit, name, mobile in self.sites:
            kind = pb.SITE_KIND_MOBILE if mobile else pb.SITE_KIND_FIXED
            made.sites.add(code=code, unit_code=unit, name=name, kind=kind, device_key=device_keys[code])
        for user in self.users:
            entry = made.users.add(
                username=user.username,
                unit_code=self.unit_of[user.username],
                display_name=user.display_name,
                office=user.office,
                email=user.email,
                locale=user.locale,
                password=PASSWORD,
            )
            for unit, role in self.roles[user.username]:
                entry.roles.add(unit_code=unit, role=role)
        return made


def slug(name: str) -> str:
    """A code from a name: lower-case ASCII, words joined by hyphens."""
    plain = unicodedata.normalize("NFD", name.replace("đ", "d").replace("Đ", "D"))
    ascii_only = "".join(each for each in plain if not unicodedata.combining(each))
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")


def person(number: int) -> str:
    """An invented name; the same for the same number."""
    return " ".join(
        (
            _FAMILY[number % len(_FAMILY)],
            _MIDDLE[number * 3 % len(_MIDDLE)],
            _GIVEN[number * 5 % len(_GIVEN)],
        )
    )


def city() -> Directory:
    """Ho Chi Minh City as it was in 2020: 45 fixed sites, 10 mobile ones."""
    it = Directory("tphcm", "Ủy ban nhân dân Thành phố Hồ Chí Minh")
    root = it.unit("Ủy ban nhân dân Thành phố Hồ Chí Minh", code="ubnd")
    office = it.unit("Văn phòng Ủy ban nhân dân Thành phố", root, "van-phong")
    press = it.unit("Trung tâm Báo chí Thành phố", root, "trung-tam-bao-chi")
    for number, name in enumerate((*DISTRICTS, *DEPARTMENTS)):
        unit = it.unit(name, root)
        it.site(name, unit, f"dc-{unit}")
        district = name in DISTRICTS
        head = "Chủ tịch" if district else "Giám đốc"
        it.user(unit, person(number), f"{head} {name}", unit, (unit, pb.ROLE_CONVENER))
        for ward in WARDS.get(name, ()):
            ward_unit = it.unit(ward, unit, f"{unit}-{slug(ward)}")
            it.site(ward, ward_unit, f"dc-{ward_unit}")
    for number in range(1, MOBILE_SITES + 1):
        it.site(f"Điểm cầu lưu động {number:02}", office, f"dc-luu-dong-{number:02}", mobile=True)
    it.user(
        "chutich", "Nguyễn Thành Nhân", "Chủ tịch", root, (root, pb.ROLE_CONVENER), told="chủ tọa / chair"
    )
    it.user(
        "thuky", "Trần Thị Mai Hương", "Phó Chánh Văn phòng", office, (root, pb.ROLE_CONVENER),
        told="thư ký / secretary",
    )  # fmt: skip
    it.user(
        "kythuat", "Lê Quốc Khánh", "Kỹ thuật viên", office,
        (root, pb.ROLE_OPERATOR), (root, pb.ROLE_ADMINISTRATOR), told="kỹ thuật / operator",
    )  # fmt: skip
    it.user("quantri", "Phạm Minh Sơn", "Quản trị hệ thống", office, (root, pb.ROLE_ADMINISTRATOR))
    it.user("daibieu", "Võ Ngọc Lan", "Chuyên viên", "so-y-te", told="đại biểu / delegate")
    it.user("baochi", "Hồ Kim Châu", "Phóng viên", press, told="báo chí / press")
    it.user(
        "chuamoi", "Đỗ Hữu Phúc", "Chuyên viên", office, told="chưa được mời: phải chờ / not invited: waits"
    )
    it.user(
        "english", "Ngô Thanh Hà", "Protocol officer", "so-ngoai-vu", told="tiếng Anh / English", english=True
    )
    return it


def ministry() -> Directory:
    """A ministry with ten terminals in the leaders' rooms."""
    it = Directory("bkhcn", "Bộ Khoa học và Công nghệ")
    root = it.unit("Bộ Khoa học và Công nghệ", code="bo")
    office = it.unit("Văn phòng Bộ", root)
    leaders = ("Bộ trưởng", *(f"Thứ trưởng {number}" for number in range(1, 5)))
    for name in leaders:
        it.site(f"Phòng làm việc {name}", root, f"dc-{slug(name)}")
    departments = (
        "Vụ Tổ chức cán bộ",
        "Vụ Kế hoạch - Tài chính",
        "Cục Sở hữu trí tuệ",
        "Cục Tần số vô tuyến điện",
    )
    for number, name in enumerate(departments):
        unit = it.unit(name, root)
        it.site(f"Phòng Lãnh đạo {name}", unit, f"dc-{unit}")
        it.user(unit, person(number + 60), f"Lãnh đạo {name}", unit, (unit, pb.ROLE_CONVENER))
    it.site("Phòng làm việc Chánh Văn phòng", office, "dc-chanh-van-phong")
    it.user("botruong", person(71), "Bộ trưởng", root, (root, pb.ROLE_CONVENER), told="chủ tọa / chair")
    it.user("thuky", person(72), "Thư ký", office, (root, pb.ROLE_CONVENER), told="thư ký / secretary")
    return it


def province() -> Directory:
    """A province office with its district offices on laptops."""
    it = Directory("lamdong", "Văn phòng Ủy ban nhân dân tỉnh Lâm Đồng")
    root = it.unit("Ủy ban nhân dân tỉnh Lâm Đồng", code="tinh")
    office = it.unit("Văn phòng Ủy ban nhân dân tỉnh", root, "van-phong")
    it.site("Phòng họp Văn phòng tỉnh", office, "dc-van-phong")
    districts = ("Thành phố Đà Lạt", "Thành phố Bảo Lộc", "Huyện Đức Trọng", "Huyện Lâm Hà", "Huyện Di Linh",
                 "Huyện Đơn Dương", "Huyện Lạc Dương", "Huyện Đam Rông", "Huyện Bảo Lâm", "Huyện Cát Tiên")  # fmt: skip
    for number, name in enumerate(districts):
        unit = it.unit(f"Văn phòng {name}", root)
        it.site(name, unit, f"dc-{slug(name)}")
        it.user(slug(name), person(number + 80), f"Chánh Văn phòng {name}", unit)
    it.user(
        "chanhvanphong",
        person(91),
        "Chánh Văn phòng",
        office,
        (root, pb.ROLE_CONVENER),
        told="chủ tọa / chair",
    )
    it.user(
        "thuky",
        person(92),
        "Chuyên viên tổng hợp",
        office,
        (root, pb.ROLE_CONVENER),
        told="thư ký / secretary",
    )
    return it
