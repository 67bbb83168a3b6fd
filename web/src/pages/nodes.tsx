// SPDX-License-Identifier: Apache-2.0
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";

import { nodesQuery } from "../api/queries";
import { Badge, Empty, Loading, useTitle } from "../ui/basics";
import { ProblemBox } from "../ui/problem";
import { browserZone, formatDateTime } from "../util/time";

const HEALTH_TONE = { up: "ok", down: "bad", draining: "warn" } as const;

export function NodesPage() {
  const { t, i18n } = useTranslation();
  const packets = new Intl.NumberFormat(i18n.language);
  useTitle(t("node.title"));
  const nodes = useQuery(nodesQuery);
  return (
    <div className="page">
      <div className="page-head">
        <h1>{t("node.title")}</h1>
      </div>
      {nodes.error && !nodes.data && <ProblemBox error={nodes.error} onRetry={() => void nodes.refetch()} />}
      {nodes.isPending && <Loading />}
      {nodes.data?.length === 0 && <Empty>{t("node.none")}</Empty>}
      {nodes.data && nodes.data.length > 0 && (
        // A table wider than a phone scrolls by itself, by key as well.
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        <div className="panel scroll-x" tabIndex={0} role="region" aria-label={t("node.title")}>
          <table className="labelled">
            <thead>
              <tr>
                <th scope="col">{t("node.id")}</th>
                <th scope="col">{t("node.state")}</th>
                <th scope="col">{t("node.sessions")}</th>
                <th scope="col">{t("node.peer_connections")}</th>
                <th scope="col">{t("node.packets")}</th>
                <th scope="col">{t("node.version")}</th>
                <th scope="col">{t("node.observed")}</th>
              </tr>
            </thead>
            <tbody>
              {nodes.data.map((node) => (
                <tr key={node.id}>
                  <th scope="row">{node.id}</th>
                  <td data-label={t("node.state")}>
                    <Badge tone={HEALTH_TONE[node.health]}>{t(`node.health.${node.health}`)}</Badge>
                  </td>
                  <td className="number" data-label={t("node.sessions")}>
                    {node.sessions}
                  </td>
                  <td className="number" data-label={t("node.peer_connections")}>
                    {node.peer_connections}
                  </td>
                  <td className="number" data-label={t("node.packets")}>
                    {packets.format(node.packets_sent_per_second)} /{" "}
                    {packets.format(node.budget_packets_per_second)}
                  </td>
                  <td data-label={t("node.version")}>{node.janus_version}</td>
                  <td className="number" data-label={t("node.observed")}>
                    {formatDateTime(node.observe_time, browserZone())}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}
