/** The HTTP side of the daemon as who starts and stops it sees it. */
export interface HttpServer {
  /** `https://127.0.0.1:8733`, with the port that it really has. */
  readonly url: string;
  /** Reads tokens and certificates anew. Errors: `CONFIG_INVALID`, `SECRET_UNAVAILABLE`; all stays as it was then. */
  reload(): Promise<void>;
  /** Takes no more requests, and cuts those off that go on after a grace in milliseconds. */
  close(grace?: number): Promise<void>;
}
