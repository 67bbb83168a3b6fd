// SPDX-License-Identifier: Apache-2.0
// What to say in Vietnamese when the server refuses: for each public reason of docs/errors.md what happened and
// what to do, and why a stay in a meeting ended. Words in braces come with the refusal.

import { fieldsVi } from "./fields.vi";

export const reasonsVi = {
  reason: {
    ADMISSION_DECIDED: {
      title: "Yêu cầu vào họp này đã được người khác xét.",
      remedy: "Xem lại danh sách chờ; quyết định trước vẫn giữ nguyên.",
    },
    ADMISSION_NOT_FOUND: {
      title: "Người này không còn chờ vào họp.",
      remedy: "Xem lại danh sách chờ.",
    },
    ADMISSION_REFUSED: {
      title: "Yêu cầu vào họp của bạn không được chấp nhận.",
      remedy: "Liên hệ chủ tọa hoặc thư ký cuộc họp nếu bạn cần dự.",
    },
    ADMIT_FORBIDDEN: {
      title: "Chỉ chủ tọa và thư ký được cho vào họp.",
      remedy: "Báo chủ tọa hoặc thư ký xét người đang chờ.",
    },
    ALREADY_EXISTS: {
      title: "Nội dung này đã có.",
      remedy: "Tải lại trang để xem nội dung đã có.",
    },
    ATTENDANCE_FORBIDDEN: {
      title: "Bạn không được xem điểm danh của cuộc họp này.",
      remedy: "Chỉ chủ tọa, thư ký, kỹ thuật và người phụ trách đơn vị được xem. Hỏi thư ký cuộc họp.",
    },
    BODY_INVALID: {
      title: "Máy chủ không đọc được dữ liệu gửi lên.",
      remedy: "Tải lại trang rồi thử lại; nếu vẫn lỗi, báo bộ phận kỹ thuật.",
    },
    BODY_TOO_LARGE: {
      title: "Dữ liệu gửi lên quá lớn.",
      remedy: "Rút ngắn nội dung rồi gửi lại.",
    },
    BUCKET_NOT_FOUND: {
      title: "Hệ thống chưa sẵn sàng.",
      remedy: "Chờ một lát rồi thử lại; nếu vẫn lỗi, báo bộ phận kỹ thuật.",
    },
    CALLER_FORBIDDEN: {
      title: "Một bộ phận của hệ thống từ chối yêu cầu.",
      remedy: "Báo bộ phận kỹ thuật kiểm tra cấu hình.",
    },
    CALLER_UNKNOWN: {
      title: "Một bộ phận của hệ thống từ chối yêu cầu.",
      remedy: "Báo bộ phận kỹ thuật kiểm tra cấu hình.",
    },
    COMMAND_FORBIDDEN: {
      title: "Vai trò của bạn trong cuộc họp không được làm việc này.",
      remedy: "Nhờ chủ tọa, thư ký hoặc kỹ thuật thực hiện.",
    },
    COMMAND_INVALID: {
      title: "Thao tác không hợp lệ vào lúc này.",
      remedy: "Xem lại nội dung vừa chọn rồi thử lại.",
    },
    COMPOSE_FAILED: {
      title: "Không dựng được bản ghi.",
      remedy: "Dữ liệu gốc vẫn còn. Bấm “Dựng lại”; nếu vẫn lỗi, báo bộ phận kỹ thuật.",
    },
    CONFLICT: {
      title: "Nội dung vừa được người khác thay đổi.",
      remedy: "Tải lại để xem bản mới nhất rồi thử lại.",
    },
    CONVENE_FORBIDDEN: {
      title: "Bạn không được triệu tập cuộc họp cho đơn vị này.",
      remedy: "Chọn đơn vị khác mà bạn được phân quyền triệu tập.",
    },
    DEADLINE_EXCEEDED: {
      title: "Máy chủ trả lời quá chậm.",
      remedy: "Chờ một lát rồi thử lại.",
    },
    DIRECTORY_ENTRY_INVALID: {
      title: "Danh bạ có mục chưa hợp lệ.",
      remedy: "Sửa các mục được nêu rồi nhập lại.",
    },
    EDIT_FORBIDDEN: {
      title: "Bạn không được sửa hoặc hủy cuộc họp này.",
      remedy: "Nhờ chủ tọa, thư ký hoặc người triệu tập của đơn vị thực hiện.",
    },
    END_FORBIDDEN: {
      title: "Bạn không được kết thúc cuộc họp này.",
      remedy: "Chỉ chủ tọa và thư ký được kết thúc cuộc họp.",
    },
    EVENT_UNUSABLE: {
      title: "Không gửi được một thông báo.",
      remedy: "Báo bộ phận kỹ thuật.",
    },
    FLOOR_FULL: {
      title: "Đã đủ số người phát biểu cùng lúc.",
      remedy: "Thu quyền phát biểu của một người trước.",
    },
    FLOOR_QUEUE_FULL: {
      title: "Danh sách xin phát biểu đã đầy.",
      remedy: "Chờ một số người phát biểu xong rồi xin lại.",
    },
    FORBIDDEN: {
      title: "Bạn không có quyền thực hiện việc này.",
      remedy: "Liên hệ bộ phận quản trị của đơn vị nếu cần quyền này.",
    },
    GRANT_INVALID: {
      title: "Phép vào họp không còn hiệu lực.",
      remedy: "Vào lại cuộc họp.",
    },
    IDEMPOTENCY_KEY_REUSED: {
      title: "Cuộc họp này đã được tạo với nội dung khác.",
      remedy: "Xem cuộc họp trong lịch họp rồi sửa ở đó.",
    },
    IF_MATCH_REQUIRED: {
      title: "Chưa rõ bản nào của cuộc họp được sửa.",
      remedy: "Tải lại trang rồi sửa lại.",
    },
    INTERNAL: {
      title: "Máy chủ gặp lỗi.",
      remedy: "Thử lại sau; nếu vẫn lỗi, báo bộ phận kỹ thuật kèm mã tra cứu.",
    },
    INVALID_ARGUMENT: {
      title: "Yêu cầu chưa hợp lệ.",
      remedy: "Sửa các mục được nêu rồi thử lại.",
    },
    INVALID_CREDENTIALS: {
      title: "Mã tổ chức, tên đăng nhập hoặc mật khẩu không đúng.",
      remedy:
        "Kiểm tra chế độ gõ tiếng Việt và phím Caps Lock rồi thử lại. Quên mật khẩu: liên hệ bộ phận quản trị của đơn vị.",
    },
    JOIN_EXPECTED: {
      title: "Kết nối vào phòng họp không đúng quy trình.",
      remedy: "Tải lại trang rồi vào lại cuộc họp.",
    },
    KEY_FILE_MISMATCH: {
      title: "Khóa của hệ thống không khớp.",
      remedy: "Báo bộ phận kỹ thuật kiểm tra cấu hình.",
    },
    LIVE_STATE_BUSY: {
      title: "Cuộc họp đang có quá nhiều thay đổi cùng lúc.",
      remedy: "Thử lại ngay sau đây.",
    },
    MEDIA_LOST: {
      title: "Hình và tiếng bị gián đoạn.",
      remedy: "Hệ thống đang tự nối lại. Chờ vài giây rồi thử lại.",
    },
    MEDIA_TYPE_WRONG: {
      title: "Máy chủ không nhận loại dữ liệu này.",
      remedy: "Tải lại trang rồi thử lại; nếu vẫn lỗi, báo bộ phận kỹ thuật.",
    },
    MEETING_CANCELLED: {
      title: "Cuộc họp đã bị hủy.",
      remedy: "Xem lịch họp để biết cuộc họp thay thế.",
    },
    MEETING_CHANGED: {
      title: "Cuộc họp vừa được người khác sửa.",
      remedy: "Tải lại để xem bản mới nhất; những gì bạn đã nhập vẫn còn trên màn hình.",
    },
    MEETING_ENDED: {
      title: "Cuộc họp đã kết thúc.",
      remedy: "Xem điểm danh và bản ghi ở trang cuộc họp.",
    },
    MEETING_INVALID: {
      title: "Thông tin cuộc họp chưa hợp lệ.",
      remedy: "Sửa các mục được nêu rồi lưu lại.",
    },
    MEETING_NOT_FOUND: {
      title: "Không tìm thấy nội dung này, hoặc bạn không có quyền xem.",
      remedy: "Kiểm tra lại đường dẫn trong giấy mời, hoặc hỏi đơn vị chủ trì.",
    },
    MEETING_NOT_OPEN: {
      title: "Cuộc họp chưa mở.",
      remedy: "Vào lại từ {{opens_at}}.",
    },
    MEETING_NOT_RUNNING: {
      title: "Cuộc họp không đang diễn ra.",
      remedy: "Việc này chỉ làm được khi đang họp. Cuộc họp chưa bắt đầu thì có thể hủy.",
    },
    MEETING_RUNNING: {
      title: "Cuộc họp đang diễn ra nên không hủy được.",
      remedy: "Nếu cần dừng, hãy kết thúc cuộc họp trong phòng họp.",
    },
    METHOD_NOT_ALLOWED: {
      title: "Máy chủ không nhận yêu cầu này.",
      remedy: "Tải lại trang rồi thử lại; nếu vẫn lỗi, báo bộ phận kỹ thuật.",
    },
    NOTIFICATION_NOT_FOUND: {
      title: "Thông báo này không còn.",
      remedy: "Tải lại danh sách thông báo.",
    },
    NOT_FOUND: {
      title: "Không tìm thấy nội dung này, hoặc bạn không có quyền xem.",
      remedy: "Kiểm tra lại đường dẫn.",
    },
    NOT_READY: {
      title: "Hệ thống chưa sẵn sàng.",
      remedy: "Chờ một lát rồi thử lại.",
    },
    NOT_SIGNED_IN: {
      title: "Bạn chưa đăng nhập.",
      remedy: "Hãy đăng nhập.",
    },
    NO_FLOOR: {
      title: "Bạn chưa có quyền phát biểu.",
      remedy: "Bấm “Xin phát biểu” và chờ chủ tọa mời.",
    },
    MEDIA_CAPACITY: {
      title: "Các máy chủ media đang đầy.",
      remedy: "Hãy ở lại trang này: khi có chỗ, hệ thống tự đưa bạn vào họp.",
    },
    NO_MEDIA_NODE: {
      title: "Chưa có máy chủ media nào nhận được cuộc họp.",
      remedy: "Chờ một lát rồi thử lại; nếu vẫn lỗi, báo bộ phận kỹ thuật.",
    },
    OFFER_INVALID: {
      title: "Trình duyệt và máy chủ chưa thống nhất được hình và tiếng.",
      remedy: "Tải lại trang rồi vào lại; nếu vẫn lỗi, dùng Chrome, Edge hoặc Firefox bản mới.",
    },
    ORIGIN_FORBIDDEN: {
      title: "Yêu cầu không đến từ trang của hệ thống.",
      remedy: "Mở hệ thống bằng địa chỉ chính thức của cơ quan rồi thử lại.",
    },
    PARTICIPANT_LIMIT_REACHED: {
      title: "Cuộc họp đã đủ {{limit}} người và điểm tham dự.",
      remedy: "Dự cùng tại một điểm cầu, hoặc liên hệ đơn vị tổ chức.",
    },
    PARTICIPANT_NOT_FOUND: {
      title: "Người hoặc điểm cầu này không còn trong cuộc họp.",
      remedy: "Xem lại danh sách điểm cầu.",
    },
    PARTICIPANT_REMOVED: {
      title: "Chủ tọa đã mời bạn ra khỏi cuộc họp.",
      remedy: "Liên hệ chủ tọa hoặc thư ký nếu có nhầm lẫn.",
    },
    PATH_NOT_FOUND: {
      title: "Không có nội dung nào ở địa chỉ này.",
      remedy: "Kiểm tra lại đường dẫn.",
    },
    PRECONDITION_FAILED: {
      title: "Chưa thực hiện được vào lúc này.",
      remedy: "Tải lại trang để xem tình hình mới nhất.",
    },
    RANGE_INVALID: {
      title: "Đoạn cần phát nằm ngoài bản ghi.",
      remedy: "Tải lại trang rồi phát lại.",
    },
    RATE_LIMITED: {
      title: "Quá nhiều yêu cầu trong thời gian ngắn.",
      remedy: "Chờ một lát rồi thử lại.",
    },
    RECORDING_IN_PROGRESS: {
      title: "Cuộc họp đang được ghi.",
      remedy: "Dừng lần ghi hiện tại trước khi ghi lần mới.",
    },
    RECORDING_NOT_FAILED: {
      title: "Bản ghi này không bị lỗi nên không cần dựng lại.",
      remedy: "Tải lại trang để xem trạng thái mới nhất.",
    },
    RECORDING_NOT_FOUND: {
      title: "Không tìm thấy bản ghi này, hoặc bạn không có quyền xem.",
      remedy: "Hỏi thư ký cuộc họp hoặc xem danh sách bản ghi.",
    },
    RECORDING_NOT_READY: {
      title: "Bản ghi chưa dựng xong.",
      remedy: "Chờ dựng xong; trang này tự cập nhật.",
    },
    RECORDING_RUNNING: {
      title: "Cuộc họp đang được ghi rồi.",
      remedy: "Không cần bấm lại; dấu REC ở đầu màn hình cho biết đang ghi.",
    },
    RECORD_FORBIDDEN: {
      title: "Bạn không được ghi cuộc họp này.",
      remedy: "Chỉ chủ tọa, thư ký và kỹ thuật được ghi.",
    },
    REFRESH_TOKEN_INVALID: {
      title: "Phiên làm việc đã hết hạn.",
      remedy: "Hãy đăng nhập lại.",
    },
    REFRESH_TOKEN_REUSED: {
      title: "Phiên làm việc đã bị đóng để bảo vệ tài khoản.",
      remedy: "Hãy đăng nhập lại; nếu lặp lại, đổi mật khẩu và báo bộ phận quản trị.",
    },
    REPLACED: {
      title: "Bạn đã vào cuộc họp này trên một thiết bị hoặc cửa sổ khác.",
      remedy: "Dùng cửa sổ kia, hoặc vào lại ở đây.",
    },
    REQUEST_INVALID: {
      title: "Có mục chưa hợp lệ.",
      remedy: "Sửa các mục được nêu rồi thử lại.",
    },
    REQUEST_REFUSED: {
      title: "Máy chủ không nhận yêu cầu này.",
      remedy: "Tải lại trang rồi thử lại; nếu vẫn lỗi, báo bộ phận kỹ thuật.",
    },
    RESOURCE_EXHAUSTED: {
      title: "Đã đến giới hạn của hệ thống.",
      remedy: "Chờ một lát rồi thử lại.",
    },
    REVISION_CONFLICT: {
      title: "Nội dung vừa được người khác thay đổi.",
      remedy: "Thử lại.",
    },
    ROOM_NOT_FOUND: {
      title: "Phòng họp chưa mở.",
      remedy: "Chờ người đầu tiên vào họp rồi thử lại.",
    },
    SCREEN_TAKEN: {
      title: "Đang có người khác chia sẻ màn hình.",
      remedy: "Đề nghị người đó ngừng chia sẻ trước.",
    },
    SIGN_IN_BUSY: {
      title: "Đang có rất nhiều người đăng nhập cùng lúc.",
      remedy: "Chờ vài giây rồi thử lại.",
    },
    SIGN_IN_LOCKED: {
      title: "Tài khoản tạm khóa vì nhập sai nhiều lần.",
      remedy: "Chờ rồi thử lại, hoặc liên hệ bộ phận quản trị của đơn vị.",
    },
    SITE_BOOKED: {
      title: "Điểm cầu {{site_name}} đã có cuộc họp khác từ {{start_time}} đến {{end_time}}.",
      remedy: "Đổi giờ họp hoặc bỏ điểm cầu đó.",
    },
    STOPPING: {
      title: "Máy chủ đang khởi động lại.",
      remedy: "Thử lại ngay sau đây.",
    },
    TICKET_INVALID: {
      title: "Vé đã dùng hoặc đã hết hạn.",
      remedy: "Tải lại trang rồi thử lại.",
    },
    TOKEN_EXPIRED: {
      title: "Phiên làm việc đã hết hạn.",
      remedy: "Hãy đăng nhập lại.",
    },
    TOKEN_INVALID: {
      title: "Phiên làm việc không còn hiệu lực.",
      remedy: "Hãy đăng nhập lại.",
    },
    TOKEN_MISSING: {
      title: "Bạn chưa đăng nhập.",
      remedy: "Hãy đăng nhập.",
    },
    TRACK_DAMAGED: {
      title: "Dữ liệu ghi của một điểm cầu bị hỏng trong kho lưu trữ.",
      remedy: "Báo bộ phận kỹ thuật kiểm tra kho lưu trữ.",
    },
    UNAUTHENTICATED: {
      title: "Phiên làm việc đã hết hạn.",
      remedy: "Hãy đăng nhập lại.",
    },
    UNAVAILABLE: {
      title: "Máy chủ đang bận.",
      remedy: "Chờ một lát rồi thử lại.",
    },
    UNIT_NOT_FOUND: {
      title: "Không có đơn vị này trong tổ chức của bạn.",
      remedy: "Chọn đơn vị khác.",
    },
    USER_NOT_FOUND: {
      title: "Không có cán bộ này trong tổ chức của bạn.",
      remedy: "Chọn người khác.",
    },
    WAITING_LIMIT_REACHED: {
      title: "Đã có {{limit}} người chờ vào họp.",
      remedy: "Thử lại sau ít phút.",
    },
  },
  /** For the refusals above that came without their values. */
  reason_short: {
    MEETING_NOT_OPEN: { title: "Cuộc họp chưa mở.", remedy: "Vào lại gần giờ bắt đầu." },
    PARTICIPANT_LIMIT_REACHED: {
      title: "Cuộc họp đã đủ số người và điểm tham dự.",
      remedy: "Dự cùng tại một điểm cầu, hoặc liên hệ đơn vị tổ chức.",
    },
    SITE_BOOKED: {
      title: "Có điểm cầu đã được mời vào cuộc họp khác cùng giờ.",
      remedy: "Đổi giờ họp hoặc bỏ điểm cầu đó.",
    },
    WAITING_LIMIT_REACHED: { title: "Đã có quá nhiều người chờ vào họp.", remedy: "Thử lại sau ít phút." },
  },
  ...fieldsVi,
  /** Why a stay in a meeting ended. */
  ended: {
    title: "Bạn đã ra khỏi cuộc họp",
    left: "Bạn đã rời cuộc họp.",
    meeting_ended: "Cuộc họp đã kết thúc.",
    removed: "Chủ tọa đã mời bạn ra khỏi cuộc họp.",
    replaced: "Bạn đã vào cuộc họp này trên một thiết bị hoặc cửa sổ khác.",
    refused: "Yêu cầu vào họp không được chấp nhận.",
    meeting_not_found: "Không tìm thấy cuộc họp này.",
    meeting_not_open: "Cuộc họp chưa mở hoặc đã kết thúc.",
    ticket_invalid: "Vé vào họp đã hết hạn. Hãy vào lại.",
    join_expected: "Kết nối không đúng quy trình. Hãy vào lại.",
    message_invalid: "Kết nối không đúng quy trình. Hãy tải lại trang rồi vào lại.",
    rate_limited: "Gửi quá nhiều yêu cầu trong thời gian ngắn. Chờ một lát rồi vào lại.",
    media_capacity: "Các máy chủ media đang đầy.",
    no_media_node: "Chưa có máy chủ media nào nhận được cuộc họp.",
    participant_limit:
      "Cuộc họp đã đủ số người và điểm tham dự. Dự cùng tại một điểm cầu, hoặc liên hệ đơn vị tổ chức.",
    appointment_changed: "Tư cách tham dự của bạn vừa được thay đổi. Đang vào lại…",
    server_stopping: "Máy chủ đang khởi động lại.",
    internal: "Máy chủ gặp lỗi. Hãy vào lại.",
  },
};
