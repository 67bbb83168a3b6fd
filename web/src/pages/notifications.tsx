// SPDX-License-Identifier: Apache-2.0
import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Switch } from "react-aria-components";
import { useTranslation } from "react-i18next";
import { Link } from "react-router";

import { notificationsQuery, queryClient, readAllNotifications, readNotification } from "../api/queries";
import { Badge, Button, Empty, Loading, useTitle } from "../ui/basics";
import { ProblemBox } from "../ui/problem";
import { browserZone, formatDateTime } from "../util/time";

export function NotificationsPage() {
  const { t } = useTranslation();
  useTitle(t("notification.title"));
  const [unreadOnly, setUnreadOnly] = useState(false);
  const inbox = useInfiniteQuery(notificationsQuery(unreadOnly));
  const refresh = { onSuccess: () => queryClient.invalidateQueries({ queryKey: ["notifications"] }) };
  const read = useMutation({ mutationFn: readNotification, ...refresh });
  const readAll = useMutation({ mutationFn: readAllNotifications, ...refresh });
  const items = inbox.data?.pages.flatMap((page) => page.items);
  const unread = inbox.data?.pages[0]?.unread_count ?? 0;

  return (
    <div className="page narrow">
      <div className="page-head">
        <div>
          <h1>{t("notification.title")}</h1>
          <p className="sub">{t("app.unread", { count: unread })}</p>
        </div>
        <div className="button-row">
          <Switch isSelected={unreadOnly} onChange={setUnreadOnly} className="switch">
            <span className="switch-track" aria-hidden="true" />
            {t("notification.only_unread")}
          </Switch>
          <Button isDisabled={unread === 0} onPress={() => readAll.mutate()}>
            {t("notification.read_all")}
          </Button>
        </div>
      </div>
      {inbox.error && !items && <ProblemBox error={inbox.error} onRetry={() => void inbox.refetch()} />}
      {inbox.isPending && <Loading />}
      {items?.length === 0 && <Empty>{t("notification.none")}</Empty>}
      <ul className="inbox">
        {items?.map((each) => (
          <li key={each.id} className={each.read_time ? "" : "is-unread"}>
            <div className="inbox-head">
              <h2>{each.title}</h2>
              {!each.read_time && <Badge tone="busy">{t("notification.unread")}</Badge>}
              <time dateTime={each.create_time ?? undefined}>
                {formatDateTime(each.create_time, browserZone())}
              </time>
            </div>
            <p className="prose">{each.body}</p>
            {each.meeting_id && (
              <Link
                to={`/meetings/${each.meeting_id}`}
                onClick={() => !each.read_time && read.mutate(each.id)}
              >
                {t("notification.open")}
              </Link>
            )}
          </li>
        ))}
      </ul>
      {inbox.hasNextPage && <Button onPress={() => void inbox.fetchNextPage()}>{t("app.more")}</Button>}
    </div>
  );
}
