// SPDX-License-Identifier: Apache-2.0
// Runs asynchronous jobs strictly one after the other. A peer connection bears one negotiation at a time
// (RFC 9429, section 4.1.8), whatever arrives meanwhile.

export class SerialQueue {
  private tail: Promise<unknown> = Promise.resolve();

  /** Runs the job when all earlier ones are done, also when one of them failed; gives the job's own outcome. */
  run<T>(job: () => Promise<T>): Promise<T> {
    const result = this.tail.then(job, job);
    this.tail = result.catch(() => undefined);
    return result;
  }
}
