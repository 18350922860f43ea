/** Why nothing was written. The message says what is wrong, the hint what to do about it. */
export class Refusal extends Error {
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}
