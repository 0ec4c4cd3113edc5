using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Globalization;
using System.Linq;
using System.Net;
using System.Reflection;

namespace SecretBridge;

/// <summary>
/// What the HTTP service behind a vault answered, as the exceptions of the clients keep it: the status, and when to come again.
/// Each client has types of its own (HttpResponseException, RequestFailedException, KeyVaultErrorException, CloudException,
/// WebException), so members are looked for by their names. Messages decide nothing.
/// </summary>
public static class ServiceAnswer
{
    /// <summary>Longer than any service asks for; the core has a limit of its own.</summary>
    private const double LongestWait = 86_400;

    private const BindingFlags Public = BindingFlags.Instance | BindingFlags.Public;

    /// <summary>The status, from 400 to 599, and the seconds after which to come again, where an exception or one inside it says.</summary>
    public static (int? Status, long? RetryAfter) Of(Exception exception)
    {
        foreach (Exception at in Causes.Of(exception))
        {
            if (StatusOf(at) is int status)
            {
                return (status, WaitOf(at));
            }
        }
        return (null, null);
    }

    private static int? StatusOf(Exception exception)
    {
        object? response = ResponseOf(exception);
        object?[] candidates = [Member(exception, "StatusCode"), Member(exception, "Status"), Member(response, "StatusCode"), Member(response, "Status")];
        // Other enumerations, as that of WebException, have numbers that mean something else.
        IEnumerable<int> numbers = candidates.Where(value => value is HttpStatusCode or int).Select(value => (int)value!);
        return numbers.Where(status => status is >= 400 and <= 599).Cast<int?>().FirstOrDefault();
    }

    private static long? WaitOf(Exception exception)
    {
        object? response = ResponseOf(exception);
        foreach (string name in new[] { "RetryAfterSeconds", "RetryAfter" })
        {
            if (Seconds(Member(exception, name), 1) is long said)
            {
                return said;
            }
        }
        object? headers = Member(response, "Headers");
        return Seconds(Header(headers, "Retry-After"), 1) ?? Seconds(Header(headers, "x-ms-retry-after-ms") ?? Header(headers, "retry-after-ms"), 1000);
    }

    private static object? ResponseOf(Exception exception) => Member(exception, "Response") ?? Result(exception, "GetRawResponse");

    // A header of any of the types that clients use for them; the first value of the name.
    private static string? Header(object? headers, string name)
    {
        if (headers is NameValueCollection collection)
        {
            return collection[name];
        }
        foreach (object? entry in headers as IEnumerable ?? Array.Empty<object>())
        {
            if (entry is not null && string.Equals((Member(entry, "Key") ?? Member(entry, "Name")) as string, name, StringComparison.OrdinalIgnoreCase))
            {
                return Member(entry, "Value") switch
                {
                    string text => text,
                    IEnumerable<string> texts => texts.FirstOrDefault(),
                    _ => null,
                };
            }
        }
        return null;
    }

    // Whole seconds, rounded up: who comes early is refused again.
    private static long? Seconds(object? wait, double unit)
    {
        double? seconds = wait switch
        {
            TimeSpan span => span.TotalSeconds,
            DateTimeOffset at => (at - DateTimeOffset.UtcNow).TotalSeconds,
            int number => number / unit,
            long number => number / unit,
            double number => number / unit,
            string text when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) => number / unit,
            string text when DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset at) => (at - DateTimeOffset.UtcNow).TotalSeconds,
            _ => null,
        };
        return seconds is double positive && positive > 0 ? (long)Math.Ceiling(Math.Min(positive, LongestWait)) : null;
    }

    private static object? Member(object? of, string name) => Told(() => of?.GetType().GetProperty(name, Public) is { CanRead: true } property && property.GetIndexParameters().Length == 0 ? property.GetValue(of) : null);

    private static object? Result(object of, string name) => Told(() => of.GetType().GetMethod(name, Public, Type.EmptyTypes)?.Invoke(of, null));

    // A member that fails, or of which there are several, says nothing.
    private static object? Told(Func<object?> ask)
    {
        try
        {
            return ask();
        }
        catch (Exception exception) when (exception is TargetInvocationException or AmbiguousMatchException or MethodAccessException or NotSupportedException)
        {
            return null;
        }
    }
}
