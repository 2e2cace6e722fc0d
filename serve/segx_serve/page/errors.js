// What can go wrong that is nobody's mistake in this page, each told in words for the person before it.
//
//   PageError
//   ├── ServiceError   the service refused, or could not be reached
//   ├── CameraError    there is no camera, or none for this page
//   └── VideoError     the browser cannot play a file

export class PageError extends Error {}

export class CameraError extends PageError {}

export class VideoError extends PageError {}

export class ServiceError extends PageError {
  /**
   * @param status of the answer; 0 when there was none
   * @param wait seconds after which to try again
   */
  constructor(message, status = 0, wait = 0) {
    super(message);
    this.status = status;
    this.wait = wait;
  }

  /** Too much to do just now: the same request may well succeed in a moment. */
  get busy() {
    return this.status === 503 || this.status === 429;
  }
}
