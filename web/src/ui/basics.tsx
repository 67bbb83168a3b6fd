// SPDX-License-Identifier: Apache-2.0
// Small pieces that every page uses.

import { useStore } from "zustand";
import { useEffect, useId, useState, type ReactNode } from "react";
import {
  Button as AriaButton,
  type ButtonProps,
  Dialog,
  DialogTrigger,
  FieldError,
  Heading,
  Input,
  Label,
  Modal,
  ModalOverlay,
  Text,
  TextArea,
  TextField,
  type TextFieldProps,
} from "react-aria-components";
import { useTranslation } from "react-i18next";

import { clock } from "./clock";

type Tone = "primary" | "quiet" | "danger" | "plain";

export function Button({
  tone = "quiet",
  className = "",
  ...props
}: Omit<ButtonProps, "className"> & { tone?: Tone; className?: string }) {
  return <AriaButton {...props} className={`button button-${tone} ${className}`} />;
}

/** A state in words, with a colour beside it that only repeats them. */
export function Badge({
  tone,
  children,
}: {
  tone: "ok" | "warn" | "bad" | "busy" | "none";
  children: ReactNode;
}) {
  return <span className={`badge badge-${tone}`}>{children}</span>;
}

export function Emblem({ size = 36 }: { size?: number }) {
  return <img src="/emblem.svg" width={size} height={size} alt="" className="emblem" />;
}

export function Loading() {
  const { t } = useTranslation();
  return (
    <p className="loading" role="status">
      <span className="spinner" aria-hidden="true" />
      {t("app.loading")}
    </p>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <p className="empty">{children}</p>;
}

export function Field({
  label,
  help,
  error,
  multiline = false,
  inputClassName,
  placeholder,
  trailing,
  ...props
}: TextFieldProps & {
  label: string;
  help?: string | undefined;
  error?: string | null | undefined;
  multiline?: boolean;
  inputClassName?: string;
  placeholder?: string;
  trailing?: ReactNode;
}) {
  return (
    <TextField {...props} isInvalid={Boolean(error)} validationBehavior="aria" className="field">
      <Label>{label}</Label>
      <div className="field-box">
        {multiline ? (
          <TextArea rows={4} className={inputClassName ?? ""} placeholder={placeholder ?? ""} />
        ) : (
          <Input className={inputClassName ?? ""} placeholder={placeholder ?? ""} />
        )}
        {trailing}
      </div>
      {help && (
        <Text slot="description" className="field-help">
          {help}
        </Text>
      )}
      <FieldError className="field-error">{error}</FieldError>
    </TextField>
  );
}

/** A plain select; the browser's own works best with every keyboard, screen reader and phone. */
export function Select({
  label,
  value,
  options,
  onChange,
  error,
  hideLabel = false,
  disabled = false,
}: {
  label: string;
  value: string;
  options: readonly { value: string; label: string }[];
  onChange: (value: string) => void;
  error?: string | null | undefined;
  hideLabel?: boolean;
  disabled?: boolean;
}) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id} className={hideLabel ? "visually-hidden" : ""}>
        {label}
      </label>
      <select
        id={id}
        value={value}
        disabled={disabled}
        aria-invalid={Boolean(error)}
        aria-describedby={error ? `${id}-error` : undefined}
        onChange={(event) => onChange(event.target.value)}
      >
        {options.map((each) => (
          <option key={each.value} value={each.value}>
            {each.label}
          </option>
        ))}
      </select>
      {error && (
        <span className="field-error" id={`${id}-error`}>
          {error}
        </span>
      )}
    </div>
  );
}

/** A button that asks before it acts. `trigger` must be a pressable. */
export function Confirm({
  trigger,
  title,
  detail,
  confirm,
  keep,
  tone = "danger",
  final = false,
  onConfirm,
  children,
}: {
  trigger: ReactNode;
  title: string;
  detail: string;
  confirm: string;
  keep?: string;
  tone?: Tone;
  final?: boolean;
  onConfirm: () => void;
  children?: ReactNode;
}) {
  return (
    <DialogTrigger>
      {trigger}
      <ConfirmDialog {...{ title, detail, confirm, keep, tone, final, onConfirm, children }} />
    </DialogTrigger>
  );
}

export function ConfirmDialog({
  title,
  detail,
  confirm,
  keep,
  tone = "danger",
  final = false,
  onConfirm,
  children,
  isOpen,
  onOpenChange,
}: {
  title: string;
  detail: string;
  confirm: string;
  keep?: string | undefined;
  tone?: Tone;
  /** Nothing takes it back: Enter pressed twice by mistake must not do it. */
  final?: boolean;
  onConfirm: () => void;
  children?: ReactNode;
  isOpen?: boolean;
  onOpenChange?: (open: boolean) => void;
}) {
  const { t } = useTranslation();
  const control = onOpenChange ? { isOpen: isOpen ?? false, onOpenChange } : {};
  return (
    <ModalOverlay className="overlay" isDismissable {...control}>
      <Modal className="modal">
        <Dialog role="alertdialog" className="dialog">
          {({ close }) => (
            <>
              <Heading slot="title">{title}</Heading>
              <p>{detail}</p>
              {children}
              <div className="dialog-acts">
                {/* eslint-disable-next-line jsx-a11y/no-autofocus -- a dialog must take the focus (WAI-ARIA APG) */}
                <Button autoFocus={final} onPress={close}>
                  {keep ?? t("app.cancel")}
                </Button>
                <Button
                  tone={tone}
                  // eslint-disable-next-line jsx-a11y/no-autofocus -- a dialog must take the focus (WAI-ARIA APG)
                  autoFocus={!final}
                  onPress={() => {
                    onConfirm();
                    close();
                  }}
                >
                  {confirm}
                </Button>
              </div>
            </>
          )}
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}

/** The time now, once a second. */
export function useNow(): number {
  return useStore(clock);
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} – Giaoban`;
  }, [title]);
}

/** A value that lags behind until it has been still for a moment. */
export function useSettled<T>(value: T, delayMs: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), delayMs);
    return () => clearTimeout(timer);
  }, [value, delayMs]);
  return settled;
}
